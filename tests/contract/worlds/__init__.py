"""A test world per platform: the fake platform, its adapter, and what a person can do and see."""
