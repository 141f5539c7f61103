"""INT8 tuning within an accuracy criterion."""
