"""Smoothing: an input's channels are centred and evened out, and what that takes is put into weight and bias.

The spread goes into the weight, where one scale per row copes with it: G. Xiao et al., "SmoothQuant: Accurate and
Efficient Post-Training Quantization for Large Language Models", ICML 2023, equations 3 and 4. The centre of each
channel goes into the bias: X. Wei et al., "Outlier Suppression+", EMNLP 2023, equations 3 to 5.

Both publications fold the vectors into the preceding LayerNorm. BERT is post-LayerNorm, its LayerNorm's output is also
the residual, so a fold there would change the model; here they go into the multiplication and the addition that
quantize the activation, which cost no more with a vector than with a number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch

LEAST = 1e-5  # of the widest channel: one that moved less in calibration is given the range of the middle one
WIDEST = 1e4  # no channel is stretched or shrunk by more, so that a float32 product retains its digits


@dataclass(frozen=True, eq=False)
class Smoothing:
    """An op's input ``x`` is quantized as ``(x - centre) / vector``, its weight's columns are multiplied by ``vector``.

    Two are equal when their values are, so that ops which read one input share its codes after loading too.

    Attributes:
        vector: float32 (in,), positive.
        centre: float32 (in,); the op's bias has the float weight's product with it added.
        digest: fingerprint of the two.
    """

    vector: torch.Tensor
    centre: torch.Tensor

    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the fingerprint of the values while these are sure to be plain tensors."""
        values = torch.stack([self.vector, self.centre]).numpy().tobytes()
        object.__setattr__(self, "digest", hashlib.blake2b(values, digest_size=16).digest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Smoothing) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def smoothing_for(low: torch.Tensor, high: torch.Tensor, weights: torch.Tensor, strength: float) -> Smoothing:
    """Return the middle of each channel's range, and ``reach**strength / max|w|**(1 - strength)`` with half its width.

    Args:
        low: smallest value of each input channel seen in calibration, float32 (in,).
        high: largest value of each, float32 (in,).
        weights: largest magnitude of each column over all weights that read this input, float32 (in,).
        strength: above 0 (all of the spread stays in the input) to 1 (all of it goes into the weight).
    """
    centre, reach = (high + low) / 2, (high - low) / 2
    seen = reach > LEAST * reach.max()
    ratio = reach.clamp_min(1e-30).pow(strength) / weights.clamp_min(1e-30).pow(1.0 - strength)
    ratio = ratio / ratio[seen].median().clamp_min(1e-30) if bool(seen.any()) else torch.ones_like(ratio)
    vector = torch.where(seen, ratio.clamp(1.0 / WIDEST, WIDEST), 1.0).float().contiguous()
    return Smoothing(vector, centre.float().contiguous())
