"""The modules a lowered model is made of, and the stub that marks shared activations."""
