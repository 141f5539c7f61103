"""The INT8 and bfloat16 modules of a lowered model, and the stub that marks shared activations."""
