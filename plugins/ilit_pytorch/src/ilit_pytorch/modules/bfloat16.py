"""A Linear in bfloat16: float32 in and out, products of bfloat16 numbers summed in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ilit_pytorch.modules.activation import SharedActivation
from ilit_pytorch.modules.lowered import Rebuilt, restorable


@restorable
class BFloat16Linear(Rebuilt, torch.nn.Module):
    """A Linear, torch's fused form with ReLU included, whose weight and input are rounded to bfloat16."""

    kind: ClassVar[str] = "bfloat16"
    int8_kernels = 0

    def __init__(self, original: torch.nn.Module) -> None:
        """Round the weights of ``original``, which is a clone of the model's own; its parameters are replaced."""
        super().__init__()
        self.original = original
        with torch.no_grad():
            for module in original.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    rounded = torch.nn.Parameter(parameter.to(torch.bfloat16), requires_grad=False)
                    module._parameters[name] = rounded  # noqa: SLF001 - the clone's own; setattr would check again

    def forward(self, input: torch.Tensor | SharedActivation) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return float32 (..., out) for float32 (..., in)."""
        plain = input.tensor if isinstance(input, SharedActivation) else input
        output: torch.Tensor = self.original(plain.to(torch.bfloat16))
        return output.float()

    def meta(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return nothing: the rounded parameters are saved as the original's."""
        return {}

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], original: torch.nn.Module) -> BFloat16Linear:
        """Build it again around the float module, rounded before or not."""
        return BFloat16Linear(original)
