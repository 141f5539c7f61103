"""One pass over calibration data, and its result: statistics that are good for every recipe."""
