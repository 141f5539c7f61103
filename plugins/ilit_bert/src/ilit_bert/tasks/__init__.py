"""The tasks: a table of them, readers of their files, labels of checkpoints."""
