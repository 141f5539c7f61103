"""A Linear in INT8: codes in, float32 out; static, dynamic or with one scale per token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ilit_pytorch.engine import kernels
from ilit_pytorch.module_parts.activation import (
    Quantizer,
    SharedActivation,
    codes_of,
    quantizer_from,
    quantizer_meta,
    quantizer_tensors,
)
from ilit_pytorch.module_parts.dequantized import Dequantized, dequantized, transposed
from ilit_pytorch.module_parts.lowered import Lowered, frozen, read_only, restorable
from ilit_pytorch.module_parts.output import float_output


@restorable
class Int8Linear(Lowered):
    """``post_op(x @ weight.T + bias)`` on uint8 codes of ``x`` and int8 codes of the weight, summed in int32."""

    kind: ClassVar[str] = "linear"
    made = frozenset({"packed", "weight_scale", "int8_bias", "quantizer", "post_op", "in_features", "out_features"})
    int8_kernels = 1
    multiply = staticmethod(kernels.linear)

    def __init__(
        self,
        packed: torch.Tensor,
        weight_scale: torch.Tensor,
        bias: torch.Tensor | None,
        quantizer: Quantizer,
        post_op: str = "none",
    ) -> None:
        """Put the parts together.

        Args:
            packed: int8 codes (out, in) as ``kernels.pack_linear`` packs them; never written, so it may be shared.
            weight_scale: float32 (out,).
            bias: float32 (out,) or None.
            quantizer: how the input becomes codes.
            post_op: ``none`` or ``relu``.
        """
        super().__init__()
        self.packed: torch.Tensor
        self.weight_scale: torch.Tensor
        self.int8_bias: torch.Tensor | None
        self.quantizer: Quantizer
        self.post_op: str
        inner, out = packed.shape
        # Past torch's __setattr__, which looks for parameters: a search builds thousands of these.
        vars(self).update(packed=packed, quantizer=quantizer, post_op=post_op, training=False)
        vars(self).update(in_features=int(inner), out_features=int(out))
        self._parameters.update(weight_scale=frozen(weight_scale), int8_bias=None if bias is None else frozen(bias))

    @read_only
    def bias(self) -> torch.Tensor | None:
        """The float32 bias (out,) with what correction and smoothing add; None where the op has none."""
        return self.int8_bias if self.biased else None

    @read_only
    def weight(self) -> torch.Tensor:
        """The dequantized weight, (out, in) or as the float one is; its values are computed when it is read."""
        packed, scale = self.packed, self.weight_scale
        shape = (int(packed.shape[1]), int(packed.shape[0]))
        found = Dequantized(shape, self.dtype, lambda: dequantized(kernels.unpack_linear(packed), scale))
        return transposed(found) if self.input_first else found

    def forward(self, input: torch.Tensor | SharedActivation) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return (..., out) for (..., in), computed from float32, in the dtype of the input or of autocast."""
        with torch.no_grad():
            output = self._int8(input)
        return float_output(output, input, self.weight_scale)

    def _int8(self, activation: torch.Tensor | SharedActivation) -> torch.Tensor:
        codes = codes_of(activation, self.quantizer)
        scale = codes.scale
        if not isinstance(scale, torch.Tensor):
            return self.multiply(codes, self.packed, self.weight_scale, self.int8_bias, self.post_op)
        plain = kernels.Codes(codes.codes, 1.0, codes.zero_point)
        product = self.multiply(plain, self.packed, self.weight_scale, None)  # (..., out)
        output = product.mul_(scale) if self.int8_bias is None else torch.addcmul(self.int8_bias, product, scale)
        return output.relu_() if self.post_op == "relu" else output

    def meta(self) -> dict[str, Any]:
        """Return quantizer and post-op."""
        return {"quantizer": quantizer_meta(self.quantizer), "post_op": self.post_op}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weight, weight_scale and, where there are any, bias and smoothing."""
        plain = {"weight": kernels.unpack_linear(self.packed), "weight_scale": self.weight_scale}
        bias = {} if self.int8_bias is None else {"bias": self.int8_bias}
        return {**plain, **bias, **quantizer_tensors(self.quantizer)}

    def extra_repr(self) -> str:
        """Return the shape and quantizer for ``print(model)``."""
        return f"in_features={self.in_features}, out_features={self.out_features}, {self.quantizer}, {self.post_op}"

    @staticmethod
    def restore(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], _: torch.nn.Module) -> Int8Linear:
        """Build it again from ``meta()`` and ``tensors()``."""
        quantizer, packed = quantizer_from(meta["quantizer"], tensors), kernels.pack_linear(tensors["weight"])
        return Int8Linear(packed, tensors["weight_scale"], tensors.get("bias"), quantizer, meta["post_op"])
