"""`threadwax backup` and `threadwax restore`: everything that was said, in one file."""
