"""`threadwax finetune`: trains a model of your own on conversations, and lists what was trained.

Whatever needs torch, transformers or peft is imported only when a training starts.
"""
