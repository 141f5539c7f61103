"""A Linear in bfloat16: float32 in and out, products of bfloat16 numbers summed in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from ilit_pytorch.module_parts.activation import SharedActivation
from ilit_pytorch.module_parts.lowered import Lowered, restorable
from ilit_pytorch.module_parts.output import float_output


@restorable
class BFloat16Linear(Lowered):
    """A Linear, torch's fused form with ReLU included, whose weight and input are rounded to bfloat16."""

    kind: ClassVar[str] = "bfloat16"
    made = frozenset({"original"})

    def __init__(self, original: torch.nn.Module) -> None:
        """Round the weights of ``original``, which is a clone of the model's own; its parameters are replaced."""
        super().__init__()
        self.original = original
        with torch.no_grad():
            for module in original.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    rounded = torch.nn.Parameter(parameter.to(torch.bfloat16), requires_grad=False)
                    module._parameters[name] = rounded  # noqa: SLF001 - the clone's own; setattr would check again

    def adopt(self, original: torch.nn.Module, copied: Callable[[Any], Any]) -> None:
        """Take over the hooks, which are for float32; the clone inside has everything else."""
        for module in self.original.modules():
            for hooks in (module._forward_hooks, module._forward_pre_hooks):  # noqa: SLF001 - the clone's own
                hooks.clear()
        self.take_hooks(original, copied)

    def forward(self, input: torch.Tensor | SharedActivation) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return (..., out) for (..., in), in the dtype that the float op gives."""
        plain = input.tensor if isinstance(input, SharedActivation) else input
        with torch.no_grad():
            output: torch.Tensor = self.original(plain.to(torch.bfloat16)).float()
        return float_output(output, input)

    def _fixed(self, place: str) -> list[str]:
        return [name for name in vars(self)[place] if name in self.made]

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], original: torch.nn.Module) -> BFloat16Linear:
        """Build it again around the float module, rounded before or not."""
        return BFloat16Linear(original)
