"""The saturation twin: a copy of a lowered model that answers as it would on a CPU without VNNI."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, cast

import torch

from ilit.errors import LoweringError
from ilit_pytorch.engine import cpu, saturation
from ilit_pytorch.lowering.info import LoweringInfo
from ilit_pytorch.model.clone import submodule
from ilit_pytorch.module_parts.lowered import Lowered, restorable
from ilit_pytorch.modules.conv import Int8Conv
from ilit_pytorch.modules.linear import Int8Linear
from ilit_pytorch.quantization.checks import largest_activation

Twin = TypeVar("Twin", bound=torch.nn.Module)


@restorable
class SaturatedLinear(Int8Linear):
    """An ``Int8Linear`` that runs no kernel and computes what oneDNN's would on a CPU without VNNI."""

    kind: ClassVar[str] = "saturated_linear"
    int8_kernels = 0
    multiply = staticmethod(saturation.linear)

    @staticmethod
    def restore(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], original: Any) -> SaturatedLinear:
        """Build it again from ``meta()`` and ``tensors()``."""
        return _saturated(Int8Linear.restore(meta, tensors, original), SaturatedLinear)


@restorable
class SaturatedConv(Int8Conv):
    """An ``Int8Conv`` that runs no kernel and computes what oneDNN's would on a CPU without VNNI."""

    kind: ClassVar[str] = "saturated_conv"
    int8_kernels = 0
    convolve = staticmethod(saturation.conv)

    @staticmethod
    def restore(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], original: Any) -> SaturatedConv:
        """Build it again from ``meta()`` and ``tensors()``."""
        return _saturated(Int8Conv.restore(meta, tensors, original), SaturatedConv)


_TWINS: dict[type, type[SaturatedLinear | SaturatedConv]] = {Int8Linear: SaturatedLinear, Int8Conv: SaturatedConv}
EMULATED = frozenset(twin.kind for twin in (SaturatedLinear, SaturatedConv))
"""Kinds of modules that are for scores alone, and go into no artefact."""


def saturated_twin(model: Any) -> torch.nn.Module:
    """Return a copy of a lowered model whose INT8 ops sum as on a CPU with AVX2 and without VNNI (class A).

    There, sums of two products of codes are held within 16 bits in silence. The copy's ops give that CPU's numbers on
    any CPU, as far as kernels are emulated: which ones, by what rules and from which source,
    ``ilit_pytorch.engine.saturation`` says. What is float in the model runs as it does here. The copy has all that the
    model has, hooks included, can be copied and pickled, and is for scoring: it is slow, and cannot be saved as an
    artefact.

    Args:
        model: what ``tune``, ``ilit.load`` or an adapter's ``lower`` returned; it stays as it is.

    Raises:
        LoweringError: it is no lowered model, has no INT8 Linear or convolution, or has INT8 ops that could saturate
            in kernels that are not emulated (8-bit weights between torch's ``QuantStub`` and ``DeQuantStub``).
    """
    info = getattr(model, "ilit", None)
    if not isinstance(info, LoweringInfo):
        raise LoweringError(f"{type(model).__name__} was not lowered by ilit; give what tune() or ilit.load() returned")
    if any(isinstance(module, tuple(_TWINS.values())) for module in model.modules()):
        raise LoweringError(f"this {type(model).__name__} is a saturation twin already")
    twin: Any = copy.deepcopy(model)
    found = 0
    for path, module in twin.named_modules():
        if type(module) in _TWINS:
            _saturated(module, _TWINS[type(module)])
            found += 1
        else:
            _check_exact(path, module)
    if not found:
        raise LoweringError(f"this {type(model).__name__} has no INT8 Linear or convolution that could saturate")
    twin.ilit = replace(info, paths={path: str(submodule(twin, path).kind) for path in info.paths})
    lowered: torch.nn.Module = twin
    return lowered


def _saturated(module: torch.nn.Module, kind: type[Twin]) -> Twin:
    """Return the module, from now on of the class that differs from its own in how products are summed, in no more."""
    module.__class__ = kind
    return cast("Twin", module)


def _check_exact(path: str, module: torch.nn.Module) -> None:
    """Refuse an INT8 op of another kind whose codes could saturate; where none can, it is as exact there as here."""
    if not isinstance(module, Lowered) or not module.int8_kernels or module.wraps_original():
        return
    largest = largest_activation(module.kind, module.meta())
    heaviest = int(module.tensors()["weight"].int().abs().max()) if largest else 0
    if not cpu.is_safe(largest, heaviest):
        raise LoweringError(
            f"{path}: kernels of '{module.kind}' are not emulated, and its weight codes up to {heaviest} can saturate "
            "on a CPU without VNNI; tune with 7-bit weights there (quantization.bits) or without torch's stubs"
        )
