"""The port, the relay and one folder a platform."""
