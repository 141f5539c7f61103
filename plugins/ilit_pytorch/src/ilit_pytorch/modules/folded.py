"""What stands where a BatchNorm, or a ReLU behind it, is done by the INT8 convolution before: the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ilit.errors import LoweringError
from ilit_pytorch.module_parts.dequantized import Dequantized
from ilit_pytorch.module_parts.lowered import Lowered, read_only, restorable

_OF_A_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@restorable
class FoldedNorm(Lowered):
    """A BatchNorm whose factor and offset are in the weight and bias of the convolution before.

    Its numbers read as those of a BatchNorm that changes nothing, so that who multiplies them with the convolution's
    gets what the two compute. They are frozen.
    """

    kind: ClassVar[str] = "folded_norm"
    num_features: int
    eps: float
    affine: bool

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return ``input`` itself.

        Raises:
            LoweringError: in training mode, in which the float module would normalize by the batch.
        """
        if self.training:
            raise LoweringError(
                "a BatchNorm that is folded into an INT8 convolution cannot normalize by the batch; call model.eval()"
            )
        return input

    @read_only
    def weight(self) -> torch.Tensor | None:
        """Ones (features,); None where the float module has no weight."""
        return self._filled(1.0) if self.affine else None

    @read_only
    def bias(self) -> torch.Tensor | None:
        """Zeros (features,); None where the float module has no bias."""
        return self._filled(0.0) if self.affine else None

    @read_only
    def running_mean(self) -> torch.Tensor:
        """Zeros (features,)."""
        return self._filled(0.0)

    @read_only
    def running_var(self) -> torch.Tensor:
        """1 less ``eps``, (features,)."""
        return self._filled(1.0 - self.eps)

    @read_only
    def num_batches_tracked(self) -> torch.Tensor:
        """Zero: this module has seen none."""
        return torch.tensor(0)

    def _filled(self, value: float) -> torch.Tensor:
        shape = (self.num_features,)
        return Dequantized(shape, self.dtype, lambda: torch.full(shape, value))

    def _is_weight(self, name: str) -> bool:
        return name in _OF_A_NORM

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], ___: torch.nn.Module) -> FoldedNorm:
        """Build it again."""
        return FoldedNorm()


@restorable
class FoldedRelu(Lowered):
    """A ReLU that the convolution before does along with its sums."""

    kind: ClassVar[str] = "folded_relu"

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return ``input`` itself, which has nothing negative."""
        return input

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], ___: torch.nn.Module) -> FoldedRelu:
        """Build it again."""
        return FoldedRelu()


FLOAT_FORMS: dict[str, Any] = {
    FoldedNorm.kind: torch.nn.modules.batchnorm._BatchNorm,  # noqa: SLF001 - torch has no public name for all of them
    FoldedRelu.kind: torch.nn.ReLU,
}
"""Kind -> class of the float module that it may stand for."""
