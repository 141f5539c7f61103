"""What stands between torch's QuantStub and DeQuantStub in a lowered model: quantized tensors in and out.

torch's eager quantized modules do the work as long as torch ships them. They are built from plain int8 weights and
float32 scales, so that an artefact needs no pickled packed weights. What stays float in an island is wrapped:
dequantize, run, quantize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.ao.nn.quantized as torch_quantized
from torch.utils._pytree import tree_iter, tree_map

from ilit.errors import LoweringError
from ilit_pytorch.module_parts.dequantized import Dequantized, transposed
from ilit_pytorch.module_parts.lowered import RESTORE, Lowered, frozen, read_only, restorable
from ilit_pytorch.modules.conv import Geometry
from ilit_pytorch.modules.torch_quantized import QUANTIZED_FORMS, quantize, torch_form, torch_op
from ilit_pytorch.quantization.qparams import ActivationParams


def _dequantized(value: Any, dtype: torch.dtype = torch.float32) -> Any:
    return value.dequantize().to(dtype) if isinstance(value, torch.Tensor) and value.is_quantized else value


class _Island(Lowered):
    """What the modules of this file share: output parameters, saved to the last bit, and no tensors of their own."""

    made = frozenset({"params"})

    def __init__(self, params: ActivationParams) -> None:
        super().__init__()
        self.params = params

    def meta(self) -> dict[str, Any]:
        """Return the output's scale and zero point."""
        return self.params.to_json()

    def extra_repr(self) -> str:
        """Return the parameters for ``print(model)``."""
        return str(self.params)


@restorable
class IslandStart(_Island):
    """torch's QuantStub, lowered: float32 in, quint8 out."""

    kind: ClassVar[str] = "island_start"

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Quantize an activation of any shape."""
        if torch.is_grad_enabled() and activation.requires_grad:
            raise LoweringError(
                "quantized tensors between torch's stubs have no gradient; run the model under torch.no_grad()"
            )
        return quantize(activation, self.params)

    @staticmethod
    def restore(meta: Mapping[str, Any], _: Mapping[str, torch.Tensor], __: torch.nn.Module) -> IslandStart:
        """Build it again."""
        return IslandStart(ActivationParams.from_json(meta))


@restorable
class IslandEnd(Lowered):
    """torch's DeQuantStub, lowered: quint8 in, float32 out; what is float already passes."""

    kind: ClassVar[str] = "island_end"

    def forward(self, activation: Any) -> Any:
        """Dequantize a tensor, or each tensor of a tuple, in the dtype that the float model would give."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.dtype
        return tree_map(lambda leaf: _dequantized(leaf, dtype), activation)

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], ___: torch.nn.Module) -> IslandEnd:
        """Build it again."""
        return IslandEnd()


@restorable
class IslandOp(_Island):
    """A Linear or convolution through torch's quantized module: quint8 in, quint8 out, one INT8 kernel."""

    kind: ClassVar[str] = "island_op"
    made = frozenset({"params", "op", "shape", "weight_scale", "int8_bias", "axes", "quantized"})
    int8_kernels = 1

    def __init__(
        self,
        op: tuple[str, bool],
        weight: torch.Tensor,
        weight_scale: torch.Tensor,
        bias: torch.Tensor | None,
        shape: Geometry | None,
        params: ActivationParams,
    ) -> None:
        """Build torch's module.

        Args:
            op: kind and whether ReLU is fused, a key of ``TORCH_OPS``.
            weight: int8 codes (out, in / groups, *kernel).
            weight_scale: float32 (out,).
            bias: float32 (out,) or None.
            shape: stride, padding, dilation and groups of a convolution, None for a Linear.
            params: scale and zero point of the output.
        """
        super().__init__(params)
        self.op, self.shape = op, shape
        self.weight_scale: torch.Tensor
        self.int8_bias: torch.Tensor | None
        self._parameters.update(weight_scale=frozen(weight_scale), int8_bias=None if bias is None else frozen(bias))
        self.axes = weight.ndim  # of a batch; a Linear takes more as well
        self.quantized: Any
        # Past torch's __setattr__: as a submodule it would put packed weights into the state dict.
        vars(self)["quantized"] = torch_op(op, weight, weight_scale, bias, shape)
        self.quantized.scale, self.quantized.zero_point = params.scale, params.zero_point

    @read_only
    def bias(self) -> torch.Tensor | None:
        """The float32 bias (out,) with what correction and smoothing add; None where the op has none."""
        return self.int8_bias if self.biased else None

    @read_only
    def weight(self) -> torch.Tensor:
        """The dequantized weight, (out, in / groups, *kernel); its values are computed when read."""
        weight = self.quantized.weight()
        found = Dequantized(tuple(weight.shape), self.dtype, weight.dequantize)
        return transposed(found) if self.input_first else found

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Run torch's quantized module on a quint8 activation; a single unbatched row works as well."""
        unbatched = activation.ndim == self.axes - 1
        output: torch.Tensor = self.quantized(activation.unsqueeze(0) if unbatched else activation)
        return output.squeeze(0) if unbatched else output

    def meta(self) -> dict[str, Any]:
        """Return op, geometry and output parameters."""
        return {**self.params.to_json(), "op": list(self.op), "shape": self.shape and list(self.shape)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weight, weight_scale and, where there is one, bias."""
        plain = {"weight": self.quantized.weight().int_repr(), "weight_scale": self.weight_scale}
        return plain if self.int8_bias is None else {**plain, "bias": self.int8_bias}

    @staticmethod
    def restore(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], _: torch.nn.Module) -> IslandOp:
        """Build it again from ``meta()`` and ``tensors()``."""
        op = (str(meta["op"][0]), bool(meta["op"][1]))
        shape = tuple(meta["shape"]) if meta["shape"] else None
        weight, scale, bias = tensors["weight"], tensors["weight_scale"], tensors.get("bias")
        return IslandOp(op, weight, scale, bias, shape, ActivationParams.from_json(meta))


@restorable
class IslandFloat(_Island):
    """Anything that takes and gives float tensors, inside an island: dequantize, run, quantize.

    The module inside may be a float op, or a dynamic INT8 one. Where the model uses it outside the island as well, it
    is given float tensors there and gives float ones.
    """

    kind: ClassVar[str] = "island_float"
    made = frozenset({"params", "original", "int8_kernels"})

    def __init__(self, original: torch.nn.Module, params: ActivationParams) -> None:
        """Wrap ``original``; ``params`` are its output's."""
        super().__init__(params)
        self.original = original
        self.int8_kernels = getattr(original, "int8_kernels", 0)

    def adopt(self, original: torch.nn.Module, copied: Callable[[Any], Any]) -> None:
        """Hand what hangs on the float op on to a lowered one inside; a float one is a clone and has it."""
        if isinstance(self.original, Lowered):
            self.original.adopt(original, copied)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Dequantize what comes in, quantize the tensors that come out."""
        inside = any(isinstance(leaf, torch.Tensor) and leaf.is_quantized for leaf in tree_iter((args, kwargs)))
        args, kwargs = tree_map(_dequantized, (args, kwargs))
        output = self.original(*args, **kwargs)
        return tree_map(self._requantized, output) if inside else output

    def _requantized(self, value: Any) -> Any:
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return quantize(value, self.params) if floating else value

    def meta(self) -> dict[str, Any]:
        """Return the output parameters and, where a lowered op is inside, what that is."""
        inner = self.original
        lowered = {"inner": {"kind": inner.kind, "meta": inner.meta()}} if isinstance(inner, Lowered) else {}
        return {**self.params.to_json(), **lowered}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the lowered op inside; a float one has its own parameters."""
        return self.original.tensors() if isinstance(self.original, Lowered) else {}

    @staticmethod
    def restore(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], original: torch.nn.Module) -> IslandFloat:
        """Build it again around ``original``."""
        if "inner" in meta:
            original = RESTORE[meta["inner"]["kind"]](meta["inner"]["meta"], tensors, original)
        return IslandFloat(original, ActivationParams.from_json(meta))


@restorable
class IslandMapped(_Island):
    """A module without weights of its own to quantize that torch has a quantized form of, such as BatchNorm2d."""

    kind: ClassVar[str] = "island_mapped"
    made = frozenset({"params", "original", "quantized", "made_of"})

    def __init__(self, original: torch.nn.Module, params: ActivationParams) -> None:
        """Build torch's quantized form of ``original``; ``params`` are the output's."""
        super().__init__(params)
        self.original = original
        self.quantized: Any
        self._build()

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Run torch's quantized module; outside the island, where the activation is float, the original."""
        if self.made_of != tuple(map(id, self.original.state_dict(keep_vars=True).values())):
            self._build()  # other tensors were put into the original
        output: torch.Tensor = (self.quantized if activation.is_quantized else self.original)(activation)
        return output

    def _build(self) -> None:
        vars(self)["quantized"] = torch_form(self.original, self.params)  # as in ``IslandOp``
        self.made_of = tuple(map(id, self.original.state_dict(keep_vars=True).values()))

    def _fixed(self, place: str) -> list[str]:
        return [name for name in vars(self)[place] if name in self.made]

    @staticmethod
    def restore(meta: Mapping[str, Any], _: Mapping[str, torch.Tensor], original: torch.nn.Module) -> IslandMapped:
        """Build it again from the float module."""
        return IslandMapped(original, ActivationParams.from_json(meta))


@restorable
class IslandFunctional(Lowered, torch_quantized.QFunctional):
    """torch's FloatFunctional, lowered: add, mul, cat and the like on quint8 tensors."""

    kind: ClassVar[str] = "island_functional"
    made = frozenset({"params", "scale", "zero_point", "activation_post_process"})

    def __init__(self, params: ActivationParams) -> None:
        """Set the output's scale and zero point."""
        super().__init__()
        self.params = params
        self.scale, self.zero_point = params.scale, params.zero_point

    def meta(self) -> dict[str, Any]:
        """Return the output's scale and zero point."""
        return self.params.to_json()

    @staticmethod
    def restore(meta: Mapping[str, Any], _: Mapping[str, torch.Tensor], __: torch.nn.Module) -> IslandFunctional:
        """Build it again."""
        return IslandFunctional(ActivationParams.from_json(meta))


PASSES_CODES = (
    torch.nn.ReLU, torch.nn.ReLU6, torch.nn.Identity, torch.nn.Flatten, torch.nn.Unflatten, torch.nn.Dropout,
    torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d, torch.nn.MaxPool1d, torch.nn.MaxPool2d,
    torch.nn.AvgPool2d, torch.nn.AvgPool3d, torch.nn.AdaptiveAvgPool2d, torch.nn.AdaptiveAvgPool3d,
    torch.nn.UpsamplingNearest2d, torch.nn.Hardtanh, torch.nn.PixelShuffle, torch.nn.PixelUnshuffle,
)  # fmt: skip
"""Modules that torch runs on quantized tensors as they are, with the input's scale, for every number of axes.

Not among them: ``Upsample`` and ``ChannelShuffle``, which torch runs on codes in some modes and for some axes only.
"""


def lower_other(module: torch.nn.Module, params: ActivationParams | None) -> torch.nn.Module | None:
    """Return the replacement of a module that is no op, or None where it runs on quantized tensors as it is.

    Raises:
        LoweringError: the module needs an output range and calibration has not seen one.
    """
    if type(module) in PASSES_CODES:
        return None
    if params is None:
        raise LoweringError(f"{type(module).__name__}: calibration saw no floating-point output to take a range from")
    return IslandMapped(module, params) if type(module) in QUANTIZED_FORMS else IslandFloat(module, params)
