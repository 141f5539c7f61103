"""One pass over calibration data: what every recipe of the space needs to know about activations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ilit.errors import DataError
from ilit.space import CalibrationSize, SearchSpace
from ilit_pytorch.calibration.default_ranges import unseen_ranges
from ilit_pytorch.calibration.result import TorchCalibration
from ilit_pytorch.calibration.stats import CalibrationStats, Intake
from ilit_pytorch.model.batch import (
    batches_of,
    call,
    check_input,
    flat_predictions,
    model_input,
    reached,
    row_digests,
    rows_of,
)
from ilit_pytorch.model.clone import leave_fast_path, structural_clone
from ilit_pytorch.model.padding import Padding, padding_of
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.model.weights import in_features
from ilit_pytorch.quantization.observers import SAMPLE_ROWS, ChannelStats
from ilit_pytorch.tracing.ops import inner_op
from ilit_pytorch.tracing.trace import trace

_log = logging.getLogger("ilit.pytorch")

PROBE_ROWS = 64  # rows saved, inputs and float32 outputs, for probes


def calibrate(
    model: torch.nn.Module, loader: Iterable[Any], space: SearchSpace, structure: Structure | None = None
) -> TorchCalibration:
    """Run the model over as many batches as the longest of ``space.calibrations`` takes.

    Args:
        model: the float model.
        loader: calibration data.
        space: what will be searched.
        structure: of the model, where it is known already.

    Raises:
        DataError: the loader yields nothing, or fewer rows or batches than the smallest size asks for.
    """
    sizes = sorted(space.calibrations, key=lambda size: size.count)
    seen, snapshots, probes = CalibrationStats(), dict[str, CalibrationStats](), Probes()
    digests: set[str] = set()
    rows = batches = 0
    clone = structural_clone(model)
    leave_fast_path(clone)
    with torch.no_grad():
        for batch in batches_of(loader, "calibration"):
            inputs = model_input(batch)
            check_input(model, inputs)
            padding = padding_of(model, inputs)
            if not batches:
                structure = structure or trace(model, batch)
                _begin(seen, space, sizes, rows_of(inputs), padding)
                observe(clone, structure, seen)
            rows, batches = rows + rows_of(inputs), batches + 1
            seen.intake.batch, seen.intake.padding = batches, padding
            probes.take(inputs, call(clone, inputs), padding)
            digests.update(row_digests(batch))
            for size in sizes:
                if str(size) not in snapshots and reached(size, rows, batches):
                    snapshots[str(size)] = seen.snapshot()
            if len(snapshots) == len(sizes):
                break
    if structure is None:
        raise DataError("calibration: no size was asked for")
    _settle(sizes, snapshots, seen, rows, batches)
    unseen = _unseen(clone, structure, snapshots)
    return TorchCalibration(structure, snapshots, rows, frozenset(digests), probes.inputs, probes.outputs, unseen)


@dataclass
class Probes:
    """What probes are made on: the first batches' inputs and what the float model says to them, padding left out."""

    inputs: list[Any] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    rows: int = 0

    def take(self, inputs: Any, outputs: Any, padding: Padding) -> None:
        """Save a batch where there are not ``PROBE_ROWS`` rows yet."""
        if self.rows < PROBE_ROWS:
            self.inputs.append(inputs)
            self.outputs.append(flat_predictions(outputs, padding.predictions_without))
        self.rows += rows_of(inputs)


def _begin(
    seen: CalibrationStats, space: SearchSpace, sizes: list[CalibrationSize], rows: int, padding: Padding
) -> None:
    """Settle how batches are taken, from the first one's rows and masks."""
    sample_rows = -(-SAMPLE_ROWS // _batches_to_come(sizes, rows))
    seen.intake = Intake(_needs_histogram(space), sample_rows)
    if padding.unread:
        _log.warning(
            "calibration: %s does not say with 1 and 0 what is padding, so that padding counts as data", padding.unread
        )


def _unseen(
    model: torch.nn.Module, structure: Structure, snapshots: dict[str, CalibrationStats]
) -> dict[str, dict[str, float]]:
    """Return ``unseen_ranges`` for each size, and name what is in them."""
    found = {size: unseen_ranges(model, structure, seen.stats) for size, seen in snapshots.items()}
    named = {name: reach for ranges in found.values() for name, reach in ranges.items()}
    if named:
        _log.warning(
            "calibration saw nothing but zeros of %s; a usual range is taken, give calibration data that has more",
            ", ".join(f"{name} (now -{reach:.3g} to {reach:.3g})" for name, reach in named.items()),
        )
    return found


def observe(clone: torch.nn.Module, structure: Structure, seen: CalibrationStats) -> None:
    """Put hooks on the clone that fill ``seen`` in every forward pass."""

    def take(name: str, value: Any, axis: int | None = None) -> None:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            seen.take(name, value, axis)

    def watch_input(name: str, axis: int | None) -> None:
        by_token = _is_pointwise(inner_op(clone.get_submodule(name)))
        clone.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, kwargs: take(f"{name}:in", *_channels_of(args, kwargs, axis, by_token)),
            with_kwargs=True,
        )

    def watch_output(name: str, path: str = "", axis: int | None = None) -> None:
        clone.get_submodule(path or name).register_forward_hook(
            lambda _module, _args, output: take(f"{name}:out", output, axis)
        )

    _make_room(clone, structure, seen)
    for name, site in structure.sites.items():
        if site.kind == "embedding":
            clone.get_submodule(name).register_forward_pre_hook(_note_indices(name, seen), with_kwargs=True)
        elif not site.source:
            watch_input(name, site.channel_axis)
    for name, readers in structure.shared.items():
        axes = {structure.sites[reader].channel_axis for reader in readers}
        watch_output(name, axis=axes.pop() if len(axes) == 1 else None)
    for name, path in structure.island_outputs().items():
        watch_output(name, path)


def _is_pointwise(op: Any) -> bool:
    """Whether an op is a convolution with a kernel of 1: a Linear whose tokens are the last axis."""
    return isinstance(op, torch.nn.Conv1d) and op.kernel_size == (1,)


def _channels_of(args: Any, kwargs: Any, axis: int | None, by_token: bool) -> tuple[Any, int | None]:
    """Return an op's input and where its channels are; last, as a Linear's, where ``by_token``."""
    value = next(iter((*args, *kwargs.values())))
    return (value.transpose(-2, -1), -1) if by_token and axis == -2 else (value, axis)


def _make_room(model: torch.nn.Module, structure: Structure, seen: CalibrationStats) -> None:
    """Take the room for all Linears' inputs before the first activation, for the reason ``ChannelStats`` gives."""
    for name, site in structure.sites.items():
        if site.kind == "linear" and site.channel_axis is not None:
            features = in_features(inner_op(model.get_submodule(name)))
            seen.channels.setdefault(structure.input_of(name), ChannelStats.empty(features))


def _note_indices(name: str, seen: CalibrationStats) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        seen.take_indices(name, next(iter((*args, *kwargs.values()))))

    return hook


def _batches_to_come(sizes: list[CalibrationSize], rows: int) -> int:
    """Return the number of batches that the longest size takes, judged by the rows of the first."""
    counts = [size.count if size.unit == "batches" else -(-size.count // max(rows, 1)) for size in sizes]
    return max(1, *counts) if counts else 1


def _needs_histogram(space: SearchSpace) -> bool:
    specs = (c.activation for op in space.ops.values() for c in op.candidates if c.approach == "static")
    return any(spec is not None and spec.algorithm != "minmax" for spec in specs)


def _settle(
    sizes: list[CalibrationSize],
    snapshots: dict[str, CalibrationStats],
    seen: CalibrationStats,
    rows: int,
    batches: int,
) -> None:
    """Let a loader that ends early serve the one size asked for; refuse several that would all be the same.

    What a smaller size has not seen it takes from the next larger one.
    """
    short = [size for size in sizes if str(size) not in snapshots]
    if len(short) > 1 or (short and len(sizes) > 1):
        raise DataError(
            f"calibration: the loader ends after {batches} batches ({rows} rows), before {short[0]}; "
            "give it more data or ask for less"
        )
    for size in short:
        _log.warning("calibration: asked for %s, the loader ends after %d batches (%d rows)", size, batches, rows)
        snapshots[str(size)] = seen.snapshot()
    longer = list(snapshots.values())
    for shorter, one in zip(reversed(longer[:-1]), reversed(longer[1:]), strict=True):
        shorter.borrow(one)
