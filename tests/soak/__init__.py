"""An hour of mixed load that shows what grows, and whether each question is answered once."""
