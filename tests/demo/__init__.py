"""The demo model's own adapter: what it learns, its training, and its exam."""
