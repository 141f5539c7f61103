"""The user's float model: its clone, its batches and their padding, its computed weights, how it hangs together."""
