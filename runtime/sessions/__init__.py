"""One small interface to every inference library."""
