"""An embedding with int8 rows, each with its own scale: the rows looked up are dequantized, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ilit_pytorch.module_parts.dequantized import Dequantized, dequantized
from ilit_pytorch.module_parts.lowered import Lowered, frozen, read_only, restorable
from ilit_pytorch.module_parts.output import without_backward


@restorable
class Int8Embedding(Lowered):
    """``weight[indices] * scale[indices]``; weight only, so the output is float32."""

    kind: ClassVar[str] = "embedding"
    made = frozenset({"codes", "weight_scale"})
    int8_kernels = 1

    def __init__(self, weight: torch.Tensor, weight_scale: torch.Tensor) -> None:
        """Take int8 codes (rows, width) and float32 scales (rows,)."""
        super().__init__()
        self.register_buffer("codes", weight, persistent=False)
        self._parameters.update(weight_scale=frozen(weight_scale))
        self.codes: torch.Tensor
        self.weight_scale: torch.Tensor

    @read_only
    def weight(self) -> torch.Tensor:
        """The dequantized weight, (rows, width); its values are computed when read."""
        codes, scale = self.codes, self.weight_scale
        return Dequantized(tuple(codes.shape), self.dtype, lambda: dequantized(codes, scale))

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return (..., width) for integer indices (...): float32, or what the model has been cast to."""
        with torch.no_grad():
            rows = torch.nn.functional.embedding(input, self.codes)  # (..., width), int8
            found = rows * torch.nn.functional.embedding(input, self.weight_scale[:, None])  # (..., width) * (..., 1)
        return without_backward(found if self.dtype == torch.float32 else found.to(self.dtype), self.weight_scale)

    def meta(self) -> dict[str, Any]:
        """Return nothing: tensors are all."""
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weight and weight_scale."""
        return {"weight": self.codes, "weight_scale": self.weight_scale}

    def extra_repr(self) -> str:
        """Return the shape for ``print(model)``."""
        return f"weight={tuple(self.codes.shape)}"

    @staticmethod
    def restore(_: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], __: torch.nn.Module) -> Int8Embedding:
        """Build it again from ``tensors()``."""
        return Int8Embedding(tensors["weight"], tensors["weight_scale"])
