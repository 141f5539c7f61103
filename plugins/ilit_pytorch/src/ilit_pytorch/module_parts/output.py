"""The output of an INT8 op as the float op would give it: its dtype, and what backward through it does."""

from __future__ import annotations

from typing import Any

import torch

from ilit.errors import LoweringError
from ilit_pytorch.module_parts.activation import SharedActivation


class _NoBackward(torch.autograd.Function):
    """Passes an output on as part of the graph that its input is part of."""

    @staticmethod
    def forward(_ctx: Any, output: torch.Tensor, _given: torch.Tensor) -> torch.Tensor:
        return output.view_as(output)

    @staticmethod
    def backward(_ctx: Any, *_gradients: torch.Tensor) -> Any:
        raise LoweringError(
            "an INT8 op has no gradient: ilit's models are for inference; train the float model and tune it again"
        )


def float_output(
    output: torch.Tensor, given: torch.Tensor | SharedActivation, scale: torch.Tensor | None = None
) -> torch.Tensor:
    """Return a Linear's or convolution's float32 ``output`` as the float op would give it.

    In the dtype that autocast asks for, else in the input's. Where gradients are recorded and the input takes part, so
    does the output, and its backward raises ``LoweringError``: a graph that ended here in silence would train the
    layers after an INT8 op as if there were none before it. So it does where somebody thaws ``scale``, the op's own.
    """
    dtype = given.dtype
    if torch.is_autocast_enabled("cpu") and dtype != torch.float64:
        dtype = torch.get_autocast_dtype("cpu")
    if output.dtype != dtype:
        output = output.to(dtype)
    tensor = given.tensor if isinstance(given, SharedActivation) else given
    return without_backward(output, tensor, scale)


def channels_last(output: torch.Tensor) -> torch.Tensor:
    """Return a convolution's output (rows, channels, *size) with its channels last in memory; others as they are."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return output.contiguous(memory_format=formats[output.ndim]) if output.ndim in formats else output


def without_backward(output: torch.Tensor, *sources: torch.Tensor | None) -> torch.Tensor:
    """Return an output whose backward is refused where one of its sources asks for a gradient."""
    if torch.is_grad_enabled():
        for source in sources:
            if source is not None and source.requires_grad:
                refusing: torch.Tensor = _NoBackward.apply(output, source)  # type: ignore[no-untyped-call]  # torch has not typed it
                return refusing
    return output
