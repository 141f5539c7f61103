"""Bias correction: what rounding a weight does to an op's mean output is taken back in its bias.

M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2
(equation 17: E[y] - E[y~] = -epsilon E[x]), with the mean inputs seen in calibration instead of BatchNorm's.
It costs nothing at run time.
"""

from __future__ import annotations

import torch


def bias_shift(rounding: torch.Tensor, mean_input: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """Return what is added to the bias, float32 (out,).

    Args:
        rounding: float weight less dequantized weight, (out, in / groups, *kernel).
        mean_input: mean of each input channel, float32 (in,).
        groups: of a convolution. Borders, where padding lowers the mean, are neglected, as in the paper.
    """
    per_channel = rounding.flatten(2).sum(dim=2) if rounding.ndim > 2 else rounding  # (out, in / groups)
    if groups == 1:
        return per_channel @ mean_input
    means = mean_input.reshape(groups, -1)  # (groups, in / groups)
    rows = per_channel.reshape(groups, -1, per_channel.shape[1])  # (groups, out / groups, in / groups)
    return torch.bmm(rows, means[:, :, None]).reshape(-1)
