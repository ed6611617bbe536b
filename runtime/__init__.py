"""Bundle to frames. Never imports torch."""
