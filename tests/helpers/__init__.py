"""What tests of several folders use: a GPU in software, odd files, a small person, and tiny models."""
