"""A convolution in INT8, 1d, 2d or 3d: codes in, float32 out, static."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch._prims_common import suggest_memory_format  # as the float op decides

from ilit.errors import LoweringError
from ilit_pytorch.engine import kernels
from ilit_pytorch.module_parts.activation import Quantizer, SharedActivation, codes_of, quantizer_from, quantizer_meta
from ilit_pytorch.module_parts.dequantized import Dequantized, dequantized
from ilit_pytorch.module_parts.lowered import Lowered, frozen, read_only, restorable
from ilit_pytorch.module_parts.output import channels_last, float_output

Convolution = torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Conv3d
_FLAGS = ("folded", "channels_last")
Geometry = tuple[list[int], list[int], list[int], int]
Padding = tuple[str, list[int]]
"""Mode and amounts as ``torch.nn.functional.pad`` takes them."""


def geometry(conv: Convolution) -> Geometry:
    """Return stride, padding, dilation and groups of the kernel's call; no padding where ``padding_before`` has it."""
    dilation = [int(d) for d in conv.dilation]
    if padding_before(conv) is not None or conv.padding == "valid":
        padding = [0] * len(dilation)
    elif isinstance(conv.padding, str):
        padding = [span // 2 for span in _spans(conv)]
    else:
        padding = [int(p) for p in conv.padding]
    return [int(s) for s in conv.stride], padding, dilation, int(conv.groups)


def padding_before(conv: Convolution) -> Padding | None:
    """Return the padding of the input before the kernel's call; None where the kernel pads.

    The kernel pads with zeros, as many at both ends; ``same`` with an even kernel has one more at the far end.
    """
    amounts = [int(one) for one in conv._reversed_padding_repeated_twice]  # noqa: SLF001 - what torch itself pads by
    if conv.padding_mode != "zeros":
        return (str(conv.padding_mode), amounts) if any(amounts) else None
    return ("constant", amounts) if conv.padding == "same" and any(span % 2 for span in _spans(conv)) else None


def _spans(conv: Convolution) -> list[int]:
    """Return the padding of ``same`` along each axis, both ends together."""
    return [int(d) * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]


@restorable
class Int8Conv(Lowered):
    """``post_op(conv(x) + bias)`` on uint8 codes of ``x`` and int8 codes of the weight, summed in int32."""

    kind: ClassVar[str] = "conv"
    made = frozenset({
        "packed", "weight_scale", "int8_bias", "geometry", "quantizer", "post_op", "folded", "axes", "channels_last",
        "padded",
    })  # fmt: skip
    int8_kernels = 1
    convolve = staticmethod(kernels.conv)
    channels_last: bool = False
    """Whether it answers in that memory format, in which oneDNN computes, whatever its input's is."""
    padded: Padding | None = None
    """How its input is padded before it is quantized, where the kernel cannot."""

    def __init__(
        self,
        packed: torch.Tensor,
        weight_scale: torch.Tensor,
        bias: torch.Tensor | None,
        shape: Geometry,
        quantizer: Quantizer,
        post_op: str = "none",
        folded: bool = False,
    ) -> None:
        """Put the parts together.

        Args:
            packed: int8 codes (out, in / groups, *kernel) as ``kernels.pack_conv`` packs them; never written, so it
                may be shared.
            weight_scale: float32 (out,).
            bias: float32 (out,) or None.
            shape: stride, padding, dilation and groups, as ``geometry`` gives them.
            quantizer: how the input becomes codes.
            post_op: ``none`` or ``relu``.
            folded: weight and bias have a BatchNorm folded in, and the ReLU, if any, is a module behind that.
        """
        super().__init__()
        self.packed = packed
        self.weight_scale: torch.Tensor
        self.int8_bias: torch.Tensor | None
        self._parameters.update(weight_scale=frozen(weight_scale), int8_bias=None if bias is None else frozen(bias))
        self.geometry, self.quantizer, self.post_op, self.folded = shape, quantizer, post_op, folded
        self.axes = len(shape[0]) + 2

    @read_only
    def bias(self) -> torch.Tensor | None:
        """The float32 bias (out,) with what correction and folding add; None where the op has none."""
        return self.int8_bias if self.biased or self.folded else None

    @read_only
    def weight(self) -> torch.Tensor:
        """The dequantized weight, (out, in / groups, *kernel); its values are computed when read."""
        packed, scale, axes = self.packed, self.weight_scale, self.axes
        shape = tuple(packed.shape)
        if len(shape) > axes:  # a 1d weight is packed with an axis of 1 before its own
            shape = (*shape[:-2], shape[-1])
        return Dequantized(shape, self.dtype, lambda: dequantized(kernels.unpack_conv(packed, axes), scale))

    def forward(self, input: torch.Tensor | SharedActivation) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return (rows, out, *size) for (rows, in, *size); a single unbatched row works as well.

        Computed from float32; dtype and, unless ``channels_last`` says otherwise, memory format are the float op's.
        """
        with torch.no_grad():
            output = self._int8(input)
        plain = input.tensor if isinstance(input, SharedActivation) else input
        if self.channels_last and output.ndim == self.axes:
            output = channels_last(output)
        else:
            output = output.contiguous(memory_format=suggest_memory_format(plain))
        return float_output(output, input, self.weight_scale)

    def _int8(self, input: torch.Tensor | SharedActivation) -> torch.Tensor:  # noqa: A002 - as above
        if self.padded is not None:
            plain = input.tensor if isinstance(input, SharedActivation) else input
            input = torch.nn.functional.pad(plain, self.padded[1], mode=self.padded[0])  # noqa: A001 - as above
        codes = codes_of(input, self.quantizer)
        if isinstance(codes.scale, torch.Tensor):
            raise LoweringError("INT8 convolution: one scale per token has no meaning here; use per_tensor")
        unbatched = codes.codes.ndim == self.axes - 1
        if unbatched:
            codes = kernels.Codes(codes.codes.unsqueeze(0), codes.scale, codes.zero_point)
        output = self.convolve(codes, self.packed, self.weight_scale, self.int8_bias, self.geometry, self.post_op)
        return output.squeeze(0) if unbatched else output

    def meta(self) -> dict[str, Any]:
        """Return quantizer, geometry and post-op, with ``folded``, ``channels_last``, ``padded`` where so."""
        meta: dict[str, Any] = {"quantizer": quantizer_meta(self.quantizer), "post_op": self.post_op}
        meta.update((name, True) for name in _FLAGS if getattr(self, name))
        if self.padded is not None:
            meta["padded"] = list(self.padded)
        return {**meta, **dict(zip(("stride", "padding", "dilation", "groups"), self.geometry, strict=True))}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weight, weight_scale and, where there is one, bias."""
        plain = {"weight": kernels.unpack_conv(self.packed, self.axes), "weight_scale": self.weight_scale}
        return plain if self.int8_bias is None else {**plain, "bias": self.int8_bias}

    def extra_repr(self) -> str:
        """Return the shape and quantizer for ``print(model)``."""
        return f"weight={tuple(self.packed.shape)}, geometry={self.geometry}, {self.quantizer}, {self.post_op}"

    @staticmethod
    def restore(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], _: torch.nn.Module) -> Int8Conv:
        """Build it again from ``meta()`` and ``tensors()``."""
        shape = (meta["stride"], meta["padding"], meta["dilation"], meta["groups"])
        quantizer, scale = quantizer_from(meta["quantizer"], tensors), tensors["weight_scale"]
        packed = kernels.pack_conv(tensors["weight"], scale, shape)
        bias, folded = tensors.get("bias"), bool(meta.get("folded"))
        module = Int8Conv(packed, scale, bias, shape, quantizer, meta["post_op"], folded)
        module.channels_last = bool(meta.get("channels_last"))
        module.padded = (str(meta["padded"][0]), list(meta["padded"][1])) if "padded" in meta else None
        return module
