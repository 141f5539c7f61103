"""Bias correction: what rounding a weight does to an op's mean output is taken back in its bias.

M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2
(equation 17: E[y] - E[y~] = -epsilon E[x]), with the mean inputs seen in calibration instead of BatchNorm's.
It costs nothing at run time.
"""

from __future__ import annotations

import torch


def bias_shift(
    weight: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, mean_input: torch.Tensor, groups: int = 1
) -> torch.Tensor:
    """Return the shift of the bias, float32 (out,): the float weight less the dequantized one, times the mean.

    Args:
        weight: what was quantized, (out, in / groups, *kernel).
        codes: its codes, int8 or whole numbers in float32.
        scale: their scale, float32 (out,).
        mean_input: mean of each input channel, float32 (in,).
        groups: of a convolution. Borders, where padding lowers the mean, are neglected, as in the paper.
    """
    return _mean_output(weight.float(), mean_input, groups) - scale * _mean_output(codes.float(), mean_input, groups)


def _mean_output(weight: torch.Tensor, mean_input: torch.Tensor, groups: int) -> torch.Tensor:
    per_channel = weight.flatten(2).sum(dim=2) if weight.ndim > 2 else weight  # (out, in / groups)
    if groups == 1:
        return per_channel @ mean_input
    rows = per_channel.reshape(groups, -1, per_channel.shape[1])  # (groups, out / groups, in / groups)
    return torch.bmm(rows, mean_input.reshape(groups, -1, 1)).reshape(-1)
