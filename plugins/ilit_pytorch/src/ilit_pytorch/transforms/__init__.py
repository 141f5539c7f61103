"""What is done to weights, biases and inputs beside rounding, so that more ops can stay in INT8."""
