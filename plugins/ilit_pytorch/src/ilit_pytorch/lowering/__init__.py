"""From a model, its calibration and a recipe to an INT8 model, and what recipes of one calibration share."""
