"""The check of a score: compared with constant answers, chance and other label orders, its likely cause named."""
