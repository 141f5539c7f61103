"""The CPU and the INT8 operators that run on it: its class of arithmetic, and the calls of their kernels."""
