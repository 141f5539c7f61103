"""The metrics ilit-bert registers, their formulas, and the table of them."""
