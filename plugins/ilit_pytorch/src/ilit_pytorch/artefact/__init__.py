"""A tuned model on disk: saved, read back, and proved to hold what was written."""
