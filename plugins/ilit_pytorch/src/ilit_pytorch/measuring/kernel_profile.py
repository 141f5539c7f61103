"""The kernels that one forward pass really runs, seen where torch dispatches them: calls, seconds and bytes of each.

Nothing is hung on the model for it, since what hangs on an op may change the kernel that runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ilit.adapter import KernelCalls, KernelProfile
from ilit_pytorch.model.batch import call, tensors_in
from ilit_pytorch.module_parts.lowered import Lowered

LOOK_UPS = ("aten::embedding", "aten::index_select", "aten::_embedding_bag", "aten::_embedding_bag_forward_only")
ATEN_INT8 = (*LOOK_UPS, "aten::_int_mm", "aten::_weight_int8pack_mm")
"""torch's own ops that work on INT8 codes; any other of its own that reads codes copies or dequantizes them."""


class Weight(NamedTuple):
    """An INT8 weight that kernels read.

    Attributes:
        path: of the INT8 op it belongs to; None where it belongs to none, as one that several ops share.
        codes: how many there are, 0 where that is not known.
    """

    path: str | None
    codes: int


def profile_kernels(model: torch.nn.Module, inputs: Any) -> KernelProfile:
    """Run the model twice on one batch and return the kernels of the second pass; the first one warms it up."""
    weights = _weights(model)
    recorder = _Recorder(weights)
    with torch.no_grad():
        call(model, inputs)
        with recorder:
            call(model, inputs)
    rows = list(recorder.rows.values())
    others = sorted((row for row in rows if not row.is_int8), key=lambda row: -row.seconds)
    return KernelProfile(
        int8=tuple(row.told() for row in rows if row.is_int8),
        others=tuple(row.told() for row in others),
        ops_without=_ops_without(_int8_ops(model), weights.values(), recorder.read.values()),
    )


# --- The model's INT8 weights ----------------------------------------------------------------------------------------


def _weights(model: torch.nn.Module) -> dict[int, Weight]:
    """Return each INT8 weight of the model by its identity."""
    found: dict[int, Weight] = {}
    ops = _int8_ops(model)
    for path, module in model.named_modules():
        op = next((op for op in ops if op == path or path.startswith(f"{op}.")), None)
        own = vars(module)
        for value in (*own.values(), *own["_parameters"].values(), *own["_buffers"].values()):
            found.update((key, Weight(op, codes)) for key, codes in _codes_in(value, isinstance(module, Lowered)))
    return found


def _int8_ops(model: torch.nn.Module) -> list[str]:
    """Return the paths of the modules that should run INT8 kernels, those inside others left out."""
    found: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{op}.") for op in found)
        if isinstance(module, Lowered) and module.int8_kernels and not inside:
            found.append(path)
    return found


def _codes_in(value: Any, ours: bool) -> Iterator[tuple[int, int]]:
    """Yield identity and size of the INT8 weights in a module's attribute: packed ones, and plain ones in ours."""
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.int8 and (ours or value.is_mkldnn):
            yield id(value), value.numel()
    elif isinstance(value, torch.nn.Module):  # torch's quantized module, which an INT8 op of an island runs
        quantized: Any = value
        packed = getattr(quantized, "_packed_params", None)
        packed = getattr(packed, "_packed_params", packed)  # a Linear has them in a module of their own
        if isinstance(packed, torch.ScriptObject):
            yield hash(packed), quantized.weight().numel()  # two Python objects may stand for one packed weight


def _ops_without(ops: Iterable[str], weights: Iterable[Weight], read: Iterable[Weight]) -> tuple[str, ...]:
    """Return the INT8 ops no weight of which was read.

    Several ops may run as one kernel, whose weight belongs to none of them; it counts for as many, the first
    that had none, as it has codes for.
    """
    sizes = dict.fromkeys(ops, 0)
    for path, codes in weights:
        if path is not None:
            sizes[path] += codes
    reached = list(read)
    joint = sum(weight.codes for weight in reached if weight.path is None)
    without = []
    for path, codes in sizes.items():
        if any(weight.path == path for weight in reached):
            continue
        joint -= codes
        if joint < 0:
            without.append(path)
    return tuple(without)


# --- What runs -------------------------------------------------------------------------------------------------------


@dataclass
class _Row:
    """The calls so far of one kernel for the same ops."""

    kernel: str
    ops: tuple[str, ...]
    is_int8: bool
    calls: int = 0
    seconds: float = 0.0
    bytes: int = 0

    def told(self) -> KernelCalls:
        return KernelCalls(self.kernel, self.ops, self.calls, self.seconds, self.bytes)


class _Recorder(TorchDispatchMode):
    """Notes every op that is dispatched below autograd; what an op calls on its way is part of it."""

    def __init__(self, weights: Mapping[int, Weight]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not typed it
        self.weights = weights
        self.rows: dict[tuple[str, tuple[str, ...], bool], _Row] = {}
        self.read: dict[int, Weight] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        begun = time.perf_counter()
        output = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - begun
        name = func._schema.name  # noqa: SLF001 - torch has no public name for it
        read = dict(_weights_read(name, args, self.weights))
        self.read.update(read)
        ops = tuple(dict.fromkeys(weight.path for weight in read.values() if weight.path is not None))
        row = self.rows.setdefault((name, ops, bool(read)), _Row(name, ops, bool(read)))
        row.calls += 1
        row.seconds += seconds
        row.bytes += 0 if func.is_view else _bytes(name, (args, kwargs), output)
        return output


def _weights_read(name: str, args: Iterable[Any], weights: Mapping[int, Weight]) -> Iterator[tuple[int, Weight]]:
    """Yield the INT8 weights that an op computes with, by identity; none where it packs, copies or dequantizes them."""
    namespace = name.partition("::")[0]
    if "prepack" in name or "unpack" in name or (namespace == "aten" and name not in ATEN_INT8):
        return
    for value in args:
        if isinstance(value, torch.Tensor) and value.dtype == torch.int8:
            if id(value) in weights or value.is_mkldnn:
                yield id(value), weights.get(id(value), Weight(None, value.numel()))
        elif isinstance(value, torch.ScriptObject):
            yield hash(value), weights.get(hash(value), Weight(None, 0))


def _bytes(name: str, given: Any, output: Any) -> int:
    """Return the bytes of an op's tensors, from shapes and dtypes; of a table the rows that are looked up."""
    written = [tensor.numel() * tensor.element_size() for tensor in tensors_in(output)]
    read = [tensor.numel() * tensor.element_size() for tensor in tensors_in(given)]
    if name in LOOK_UPS and read:
        read[0] = min(read[0], sum(written))
    return sum(read) + sum(written)
