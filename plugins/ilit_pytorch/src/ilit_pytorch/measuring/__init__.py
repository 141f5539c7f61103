"""Figures of a recipe or a model: distances on calibration data, seconds and bytes."""
