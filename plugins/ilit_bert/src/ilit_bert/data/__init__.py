"""Data loaders: batches of like length from a task's files, and users' tuple batches by keyword."""
