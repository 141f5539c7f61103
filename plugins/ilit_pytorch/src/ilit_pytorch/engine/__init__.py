"""The CPU and the INT8 operators it runs: its class of arithmetic, oneDNN's calls, torch's warnings about its own."""
