"""SmoothQuant: the spread of an input's channels is moved into the weight, where one scale per row copes with it.

G. Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", ICML 2023,
equations 3 and 4. The published method divides the preceding LayerNorm by the vector. BERT is post-LayerNorm, its
LayerNorm's output is also the residual, so a fold there would change the model; here the vector goes into the
multiplication that quantizes the activation, which costs no more than one by a scalar.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch

LEAST = 1e-5  # channels that calibration saw (almost) only zeros of are left as they are
WIDEST = 1e4  # no channel is stretched or shrunk by more, so that a float32 product keeps its digits


@dataclass(frozen=True, eq=False)
class Smoothing:
    """A vector that an op's input is divided by and its weight's columns are multiplied by.

    Two are equal when their values are, so that ops which read one input share its codes after loading too.

    Attributes:
        vector: float32 (in,), positive.
    """

    vector: torch.Tensor

    @cached_property
    def digest(self) -> bytes:
        """Fingerprint of the values."""
        return hashlib.blake2b(self.vector.numpy().tobytes(), digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Smoothing) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def smoothing_for(inputs: torch.Tensor, weights: torch.Tensor, strength: float) -> Smoothing:
    """Return ``max|x|**strength / max|w|**(1 - strength)`` per channel.

    Args:
        inputs: largest magnitude of each input channel seen in calibration, float32 (in,).
        weights: largest magnitude of each column over all weights that read this input, float32 (in,).
        strength: above 0 (all of the spread stays in the input) to 1 (all of it goes into the weight).
    """
    seen = inputs > LEAST * inputs.max()
    ratio = inputs.clamp_min(1e-30).pow(strength) / weights.clamp_min(1e-30).pow(1.0 - strength)
    ratio = ratio / ratio[seen].median().clamp_min(1e-30) if bool(seen.any()) else torch.ones_like(ratio)
    return Smoothing(torch.where(seen, ratio.clamp(1.0 / WIDEST, WIDEST), 1.0).float().contiguous())
