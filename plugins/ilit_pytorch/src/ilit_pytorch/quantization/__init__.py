"""The arithmetic of quantization: from values seen to ranges, scales and codes, and what goes with rounding."""
