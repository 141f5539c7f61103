"""Batches: how one goes into a model, how many rows it has, and what of the model's answer are predictions."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from ilit.errors import DataError, did_you_mean
from ilit.evaluation import arrays
from ilit.space import CalibrationSize
from ilit_pytorch.model.padding import token_mask

MOST_DENSE = 1 << 24
"""Elements of a sparse tensor that is looked at as a dense one: 64 MiB in float32."""

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_PLAIN = (bool, int, float, complex, str, bytes, np.generic)
NOT_PREDICTIONS = frozenset({"loss", "hidden_states", "attentions", "cross_attentions", "past_key_values"})


def model_input(batch: Any) -> Any:
    """Return the input of a loader's ``(input, label)``.

    Raises:
        DataError: the batch is not a pair.
    """
    return _pair(batch)[0]


def labels_of(batch: Any) -> Any:
    """Return the label of a loader's ``(input, label)`` as numpy arrays."""
    return as_numpy(_pair(batch)[1])


def batches_of(loader: Iterable[Any], what: str) -> Iterator[Any]:
    """Yield the loader's batches, using nothing but ``iter``.

    Raises:
        DataError: there is none; ``what`` names the loader.
    """
    empty = True
    for batch in loader:
        empty = False
        yield batch
    if empty:
        raise DataError(f"{what}: the loader yields no batch; give one that can be iterated again and has data")


def call(model: torch.nn.Module, inputs: Any) -> Any:
    """Run the model: a mapping as keywords, a tuple or list as positions, anything else as the one argument.

    What is compiled in its class or beside it runs as written: compiled code passes by hooks and replaced modules.
    """
    if "torch._dynamo" in sys.modules:  # else nothing is compiled, and importing it takes seconds
        with torch.compiler.set_stance("force_eager"):
            return _call(model, inputs)
    return _call(model, inputs)


def _call(model: torch.nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def check_input(model: torch.nn.Module, inputs: Any) -> None:
    """Compare a mapping's keys with the named parameters of the model's ``forward``.

    transformers' models swallow unknown keywords in silence, so ``**kwargs`` counts only where there is no named
    parameter at all.

    Raises:
        DataError: a key the forward does not name, or a parameter without default that is missing.
    """
    if not isinstance(inputs, Mapping):
        return
    parameters = inspect.signature(model.forward).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not named:
        return
    kind = type(model).__name__
    required = [name for name, p in named.items() if p.default is p.empty]
    if len(required) == 1 and not named.keys() & inputs.keys():
        raise DataError(
            f"{kind}.forward has no parameter '{next(iter(inputs), '')}'; name the key '{required[0]}' as the forward "
            f"does, or, where it takes the dict itself, put that into a tuple: ({{...}},)"
        )
    for key in inputs:
        if key not in named:
            raise DataError(
                f"{kind}.forward has no parameter '{key}'{did_you_mean(str(key), named)}; leave it out of the batch "
                f"(it has {', '.join(named)})"
            )
    missing = [name for name in required if name not in inputs]
    if missing:
        raise DataError(f"{kind}.forward needs '{missing[0]}', which the batch lacks (it has {', '.join(inputs)})")


def rows_of(inputs: Any) -> int:
    """Return the size of the first axis of the first tensor in the input, 1 where there is none."""
    first = next((t for t in tensors_in(inputs) if t.ndim), None)
    return 1 if first is None else int(first.shape[0])


def reached(size: CalibrationSize, rows: int, batches: int) -> bool:
    """Whether that many rows and batches are as much data as the size asks for."""
    return (rows if size.unit == "rows" else batches) >= size.count


def first_rows(inputs: Any, count: int) -> Any | None:
    """Return the first ``count`` rows of an input, None where its tensors do not all have rows or there are no more."""
    rows = rows_of(inputs)
    if rows <= count or any(not t.ndim or t.shape[0] != rows for t in tensors_in(inputs)):
        return None
    return tree_map(lambda leaf: leaf[:count] if isinstance(leaf, torch.Tensor) else leaf, inputs)


def row_shapes(batch: Any) -> list[Hashable]:
    """Return each row's key: rows with one key may share a batch. It is made of the shapes of a row's own tensors.

    Raises:
        DataError: the batch holds something else than tensors and arrays with one entry a row, so that rows cannot be
            told apart.
    """
    leaves, spec = _leaves(batch)
    shape = (str(spec), *((tuple(leaf.shape[1:]), str(leaf.dtype)) if leaf is not None else None for leaf in leaves))
    return [shape] * rows_of(model_input(batch))


def regroup(batches: Sequence[Any], groups: Sequence[Sequence[tuple[int, int]]]) -> list[Any]:
    """Return batches made of rows of ``batches``, each row named by its batch's number and its own.

    The values of a row stay the same bit by bit, padding included. Mappings become dicts, lists of numbers arrays.

    Raises:
        DataError: rows cannot be told apart, or rows of one group have different shapes.
    """
    flat = {number: _leaves(batches[number]) for number in {batch for group in groups for batch, _ in group}}
    made = []
    for group in groups:
        (first, spec), columns = flat[group[0][0]], [flat[batch][0] for batch, _ in group]
        if any(flat[batch][1] != spec for batch, _ in group):
            raise DataError("rows of batches with different structures cannot share a batch")
        rows = [row for _, row in group]
        leaves = [
            None if leaf is None else _stacked([column[place][row] for column, row in zip(columns, rows, strict=True)])
            for place, leaf in enumerate(first)
        ]
        made.append(tree_unflatten(leaves, spec))
    return made


def _leaves(batch: Any) -> tuple[list[Any], Any]:
    """Return a batch's tensors and arrays, None where it has None, and the structure around them."""
    inputs, labels = _pair(batch)
    rows = rows_of(inputs)
    leaves, spec = tree_flatten((_tree(inputs), _tree(labels)))
    if any(not _has_rows(leaf, rows) for leaf in leaves if leaf is not None):
        raise DataError("a batch holds more than tensors with one entry a row, so that rows cannot be told apart")
    return leaves, spec


def _has_rows(leaf: Any, rows: int) -> bool:
    return isinstance(leaf, torch.Tensor | np.ndarray) and leaf.ndim > 0 and leaf.shape[0] == rows


def _tree(value: Any) -> Any:
    """Return mappings of any kind as dicts, and lists of numbers, as labels may be, as arrays."""
    if isinstance(value, Mapping):
        return {key: _tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and value and all(isinstance(item, int | float) for item in value):
        return np.asarray(value)
    return type(value)(map(_tree, value)) if type(value) in (list, tuple) else value


def _stacked(rows: Sequence[Any]) -> Any:
    try:
        return torch.stack(list(rows)) if isinstance(rows[0], torch.Tensor) else np.stack(rows)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"rows of different shapes cannot share a batch: {error}") from error


def predictions(outputs: Any) -> Any:
    """Return a model's predictions as a metric takes them: one numpy array, or a tuple or dict of them.

    A dataclass is a mapping of its fields. Of a mapping (transformers' outputs) ``logits`` alone counts where it is
    there; loss, states and caches never do.
    """
    outputs = _fields(outputs)
    if isinstance(outputs, Mapping):
        if outputs.get("logits") is not None:
            return as_numpy(outputs["logits"])
        found = {key: value for key, value in outputs.items() if key not in NOT_PREDICTIONS and value is not None}
        return as_numpy(next(iter(found.values()))) if len(found) == 1 else as_numpy(found)
    if isinstance(outputs, tuple | list) and len(outputs) == 1:
        return as_numpy(outputs[0])
    return as_numpy(outputs)


def flat_predictions(outputs: Any, select: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Return every floating-point prediction as one float64 array of shape (values,); complex ones are two each.

    Args:
        outputs: what a model gave.
        select: gives of an array what counts of it; all counts without it.
    """
    found = [array for array in arrays(predictions(outputs)).values() if np.issubdtype(array.dtype, np.inexact)]
    flat = [(array if select is None else select(array)).ravel() for array in found]
    pairs = [array.astype(np.complex128).view(np.float64) if array.dtype.kind == "c" else array for array in flat]
    return np.concatenate([array.astype(np.float64) for array in pairs] or [np.zeros(0)])


def as_numpy(value: Any) -> Any:
    """Return tensors as numpy arrays, in the structure they come in; what holds none as it is.

    Floats narrower than float32 become float32, dataclasses dicts of their fields, lists tuples. Sparse tensors become
    dense where that takes no more than ``MOST_DENSE`` elements, else a dict of ``indices``, ``values`` and ``shape``.
    """
    value = _fields(value)
    if isinstance(value, torch.Tensor):
        return _tensor_as_numpy(value.detach())
    if isinstance(value, Mapping):
        return {key: as_numpy(item) for key, item in value.items()}
    if isinstance(value, tuple | list) and not all(isinstance(item, _PLAIN) for item in value):
        return tuple(as_numpy(item) for item in value)
    return np.asarray(value) if isinstance(value, tuple | list | int | float | complex) else value


def _fields(value: Any) -> Any:
    """Return a dataclass's fields as a dict; all else, also what is a mapping beside that, as it is."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type | Mapping | torch.Tensor):
        return value
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _tensor_as_numpy(tensor: torch.Tensor) -> Any:
    if tensor.is_nested:
        return tuple(as_numpy(part) for part in tensor.unbind())
    if tensor.layout in _SPARSE and tensor.numel() > MOST_DENSE:
        found = tensor.to_sparse().coalesce()
        parts = {"indices": found.indices(), "values": found.values(), "shape": tuple(found.shape)}
        return {name: as_numpy(part) for name, part in parts.items()}
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_floating_point() and tensor.dtype != torch.float64:
        tensor = tensor.float()
    return tensor.cpu().resolve_conj().resolve_neg().numpy()


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of an input or output; mappings, sequences and dataclasses are gone through in order."""
    value = _fields(value)
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)


def row_digests(batch: Any) -> list[str]:
    """Return one digest per row of the batch's input, so that a row is known again in another batch.

    Where the input has an ``attention_mask`` of 1 and 0, only ``input_ids`` under it count: padding differs from batch
    to batch.
    """
    inputs = model_input(batch)
    if isinstance(inputs, Mapping) and "input_ids" in inputs and isinstance(inputs.get("attention_mask"), torch.Tensor):
        ids, mask = inputs["input_ids"], token_mask(inputs["attention_mask"])
        if mask is not None and mask.shape == ids.shape:
            return [_digest([row[keep]]) for row, keep in zip(ids, mask, strict=True)]
    rows = rows_of(inputs)
    tensors = [t for t in tensors_in(inputs) if t.ndim and t.shape[0] == rows]
    return [_digest([t[row] for t in tensors]) for row in range(rows)] if tensors else []


def _digest(tensors: Sequence[torch.Tensor]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        array = np.ascontiguousarray(as_numpy(tensor))
        state.update(str((array.dtype, array.shape)).encode() + array.tobytes())
    return state.hexdigest()


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        got = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list | dict) else "")
        raise DataError(f"a loader must yield (input, label), not {got}; wrap it, with a dummy label where it has none")
    return batch[0], batch[1]
