"""A deployment on several machines, each a network namespace: they fail while people talk."""
