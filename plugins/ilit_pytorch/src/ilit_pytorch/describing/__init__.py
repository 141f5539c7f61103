"""What is found out of a model before anything is searched: its search space, and whether a copy is the same model."""
