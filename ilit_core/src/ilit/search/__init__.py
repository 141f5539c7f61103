"""The loop between a strategy and its answers, and how each answer is made."""
