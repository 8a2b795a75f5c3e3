"""An hour of mixed load: what grows, and whether each question is answered once."""
