"""A trace: forward passes that find out how a model hangs together, its ops, its stubs, what lies between stubs."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import torch
from torch.utils._pytree import tree_map

from ilit.errors import DataError, ModelError
from ilit.space import CalibrationSize
from ilit_pytorch.model.batch import batches_of, call, check_input, first_rows, model_input, reached, rows_of
from ilit_pytorch.model.clone import leave_fast_path, structural_clone
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.tracing.hooks import add_trace_hooks, marks_of
from ilit_pytorch.tracing.ops import op_kind
from ilit_pytorch.tracing.state import TraceState

TRACED_ROWS = 2  # of a batch; one row might be squeezed away

_log = logging.getLogger("ilit.pytorch")


def trace(model: torch.nn.Module, example: Any) -> Structure:
    """Run the model once on one batch and return its structure.

    A few of the batch's rows tell as much as all of them, where the model takes so few.

    Raises:
        DataError: the batch is not a pair, or its keys do not fit the forward's parameters.
        ModelError: the forward raised.
    """
    state = _first_pass(model, example)
    return replace(state.structure(), left={**state.left, **_left(state, "the batch looked at does not reach it")})


def trace_all(model: torch.nn.Module, batches: Iterable[Any], sizes: Sequence[CalibrationSize]) -> Structure:
    """Return the structure that the first batch shows, with further batches where it does not call every op.

    A mixture of experts sends few of its rows to each. Batches are taken until all that could be ops were called, and
    no more than the longest of ``sizes`` takes.

    Raises:
        DataError: as ``trace``, or there is no batch.
        ModelError: the forward raised.
    """
    state, passes, rows = TraceState(), list[list[str]](), 0
    for number, batch in enumerate(batches_of(batches, "calibration"), start=1):
        found = _first_pass(model, batch) if number == 1 else _pass(model, batch, number)
        state = found if number == 1 else state.merge(found)
        passes.append(list(found.kinds))
        rows += rows_of(model_input(batch))
        if not state.uncalled() or all(reached(size, rows, number) for size in sizes):
            break
    if len(passes) > 1:
        state.kinds = {name: state.kinds[name] for name in _in_order(passes, model)}
    return replace(state.structure(), left={**state.left, **_left(state, "no calibration batch reaches it")})


def _first_pass(model: torch.nn.Module, example: Any) -> TraceState:
    refuse_form(model)
    if op_kind(structural_clone(model)) is not None:
        raise ModelError(f"the model is a single {type(model).__name__}; put it into a torch.nn.Sequential")
    inputs = model_input(example)
    check_input(model, inputs)
    few = first_rows(inputs, TRACED_ROWS)
    state = None if few is None else _tried(model, few)
    return state or _pass(model, example, 1)


def _pass(model: torch.nn.Module, batch: Any, number: int) -> TraceState:
    """Run a whole batch; raise with its number where the model does not take it."""
    inputs = model_input(batch)
    check_input(model, inputs)
    try:
        return _traced(model, inputs)
    except (DataError, ModelError):
        raise
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        if isinstance(error, TypeError) and isinstance(inputs, list | tuple) and "positional argument" in first_line:
            first_line += ", and a list or tuple is given as positions: where the forward takes it whole, give ([...],)"
        which = "the first batch" if number == 1 else f"batch {number} of the calibration data"
        raise ModelError(
            f"{type(model).__name__} raised on {which}: {type(error).__name__}: {first_line}; "
            "run model(**input) or model(*input) on what the loader yields"
        ) from error


def refuse_form(model: torch.nn.Module) -> None:
    """Refuse a model that comes in a form which cannot be tuned, with what to give instead.

    Raises:
        ModelError: it is scripted or traced, or its weights are in half precision.
    """
    kind = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        name = getattr(model, "original_name", kind)
        raise ModelError(f"{name} is scripted or traced, so its layers cannot be replaced; give the eager model")
    if hasattr(model, "ilit"):
        raise ModelError(f"{kind} has an attribute 'ilit': it is tuned already, or uses our name; give the float model")
    eager = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    dotted = next((name for module in eager for name in module._modules if "." in name), None)  # noqa: SLF001 - no public name
    if dotted is not None:
        raise ModelError(f"{kind}: the module name {dotted!r} has a dot, so that no path leads to it; rename it")
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(f"{kind} has weights without values (on the device 'meta'); load them first")
    weights = [p.dtype for p in model.parameters() if p.is_floating_point() and p.ndim > 1]
    halves = {torch.bfloat16, torch.float16, torch.float64}
    if weights and all(dtype in halves for dtype in weights):
        found = str(weights[0]).removeprefix("torch.")
        raise ModelError(f"{kind} has its weights in {found}; give model.float(), and inputs in float32 to go with it")


def _tried(model: torch.nn.Module, inputs: Any) -> TraceState | None:
    """Run a few rows; return None where that fails or leaves an op uncalled that other rows may call."""
    try:
        state = _traced(model, inputs)
    except Exception as error:  # noqa: BLE001 - the whole batch decides, and says what is wrong
        _log.info("the model does not take %d rows, so it is traced on a batch: %s", TRACED_ROWS, error)
        return None
    return None if state.uncalled() else state


def _left(state: TraceState, unreached: str) -> dict[str, str]:
    """Return the ops that were not called, and why."""
    uncalled = dict.fromkeys(state.uncalled(), unreached)
    return {**uncalled, **dict.fromkeys(state.never, "torch.nn.MultiheadAttention reads its weight and never calls it")}


def _traced(model: torch.nn.Module, inputs: Any) -> TraceState:
    clone = structural_clone(model)
    leave_fast_path(clone)
    state = TraceState()
    add_trace_hooks(clone, state)
    with torch.no_grad():
        outputs = call(clone, inputs)
        state.escaping_stubs.update(marks_of(outputs) & state.shared)
        _leave_unsettled(clone, inputs, state)
    return state


def _leave_unsettled(clone: torch.nn.Module, inputs: Any, state: TraceState) -> None:
    """Leave ops in float whose weight is computed in a way that no one weight stands for."""
    computed = {name: watch for name, watch in state.watches.items() if name in state.kinds and watch.computed}
    if not computed:
        return
    before = {name: watch.values() for name, watch in computed.items()}
    try:
        call(clone, tree_map(_reversed_rows, inputs))
    except Exception as error:  # noqa: BLE001 - the model need not take its rows in another order
        _log.info("whether weights differ from forward to forward cannot be seen: %s", error)
    for name, watch in computed.items():
        if watch.also_input:
            state.left[name] = "a forward pre-hook computes its weight and changes its input"
        elif any(not torch.equal(one, other) for one, other in zip(before[name], watch.values(), strict=True)):
            state.left[name] = "its weight differs from forward to forward"


def _reversed_rows(leaf: Any) -> Any:
    return leaf.flip(0) if isinstance(leaf, torch.Tensor) and leaf.ndim else leaf


def _in_order(passes: Sequence[Sequence[str]], model: torch.nn.Module) -> list[str]:
    """Return the ops of several passes so that each comes where all passes say, else as the model holds them."""
    place = {name: number for number, (name, _) in enumerate(model.named_modules())}
    sorter: TopologicalSorter[str] = TopologicalSorter({name: () for names in passes for name in names})
    for before, after in itertools.chain.from_iterable(map(itertools.pairwise, passes)):
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError:  # the order differs from batch to batch
        return sorted({name for names in passes for name in names}, key=place.__getitem__)
    waiting: list[tuple[int, str]] = []
    ordered = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(waiting, (place[name], name))
        ordered.append(heapq.heappop(waiting)[1])
        sorter.done(ordered[-1])
    return ordered
