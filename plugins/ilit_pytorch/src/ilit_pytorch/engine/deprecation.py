"""torch's deprecation of its quantized tensors, silenced by name where this package makes one.

torch says it once a process, at the first quantized tensor, wherever that is made; which place is the first differs
from CPU to CPU. So each place that makes one calls ``silence_deprecation`` before. The README says it in our words.
"""

from __future__ import annotations

import functools
import warnings

import torch

DEPRECATION = r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other quantized tensor creation functions"


@functools.cache
def silence_deprecation() -> None:
    """Let torch say once that quantized tensors are deprecated, so that it does not say it to whoever runs a model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=DEPRECATION, category=UserWarning)
        torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)
