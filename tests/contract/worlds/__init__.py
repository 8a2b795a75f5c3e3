"""What the contract tests need of each platform: a fake, the adapter on it, and a person's view."""
