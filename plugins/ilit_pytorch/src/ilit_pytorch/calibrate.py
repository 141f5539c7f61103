"""One pass over calibration data: what every recipe of the space needs to know about activations."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ilit.errors import DataError, LoweringError
from ilit.recipe import QuantSpec
from ilit.space import CalibrationSize, SearchSpace
from ilit_pytorch import tensorfile
from ilit_pytorch.batch import (
    batches_of,
    call,
    check_input,
    flat_predictions,
    model_input,
    reached,
    row_digests,
    rows_of,
)
from ilit_pytorch.clipping import activation_range
from ilit_pytorch.clone import leave_fast_path, structural_clone
from ilit_pytorch.computed_weights import Settled, float_op
from ilit_pytorch.default_ranges import unseen_ranges
from ilit_pytorch.observers import SAMPLE_ROWS, ActivationStats, ChannelStats
from ilit_pytorch.ops import inner_op
from ilit_pytorch.packs import PackCache
from ilit_pytorch.padding import Padding, padding_of
from ilit_pytorch.qparams import ActivationParams, activation_params, max_activation_code
from ilit_pytorch.structure import Structure
from ilit_pytorch.trace import trace
from ilit_pytorch.transforms.smooth import Smoothing, smoothing_for

_log = logging.getLogger("ilit.pytorch")

SAMPLE_INDICES = 2048  # of an embedding's input
PROBE_ROWS = 64  # rows kept, inputs and float32 outputs, for probes


@dataclass
class Intake:
    """How the activations of the batch at hand are taken.

    Attributes:
        histogram: whether more than their range is kept.
        kept_rows: rows of an op's input to keep of each batch.
        batch: the batch's number, from 1.
        padding: what of them is padding.
    """

    histogram: bool = True
    kept_rows: int = SAMPLE_ROWS
    batch: int = 1
    padding: Padding = field(default_factory=Padding)


@dataclass
class CalibrationStats:
    """What calibration has seen of activations. ``x:in`` is the input of module ``x``, ``x:out`` its output.

    Attributes:
        stats: activation -> statistics of all its values.
        channels: activation -> statistics of its channels, for inputs of ops outside islands.
        indices: path of an embedding -> up to ``SAMPLE_INDICES`` of the indices it looked up first.
        intake: how the batch at hand is taken.
    """

    stats: dict[str, ActivationStats] = field(default_factory=dict)
    channels: dict[str, ChannelStats] = field(default_factory=dict)
    indices: dict[str, torch.Tensor] = field(default_factory=dict)
    intake: Intake = field(default_factory=Intake)

    def take(self, name: str, value: torch.Tensor, axis: int | None) -> None:
        """Take an activation of one batch; ``axis`` is that of its channels, None where only all values count."""
        rows = value.numel() // (value.shape[-1] if value.ndim else 1) if value.numel() else 0
        if axis in (None, -1):
            value = self.intake.padding.without(value)
        if not value.numel():
            return  # nothing but padding, or an op that no row of this batch was sent to
        bounds = None
        if axis is not None:
            channels = self.channels.setdefault(name, ChannelStats.empty(value.shape[axis]))
            due = self.intake.kept_rows * self.intake.batch - channels.filled  # more, where earlier batches gave none
            bounds = channels.update(value, axis, max(due, self.intake.kept_rows), rows)
        self.stats.setdefault(name, ActivationStats()).update(value, self.intake.histogram, bounds)

    def take_indices(self, name: str, indices: torch.Tensor) -> None:
        """Keep what an embedding looked up first."""
        indices = self.intake.padding.without(indices).flatten()[:SAMPLE_INDICES]
        if name not in self.indices and indices.numel():
            self.indices[name] = indices.clone()

    def snapshot(self) -> CalibrationStats:
        """Return a copy that later batches do not change, without what was given room and not seen."""
        return CalibrationStats(
            {name: one.snapshot() for name, one in self.stats.items()},
            {name: one.snapshot() for name, one in self.channels.items() if one.count},
            dict(self.indices),
        )

    def borrow(self, longer: CalibrationStats) -> None:
        """Take what is not known here from a longer pass: an op that only some rows reach may come late."""
        self.stats = {**longer.stats, **self.stats}
        self.channels = {**longer.channels, **self.channels}
        self.indices = {**longer.indices, **self.indices}


@dataclass
class TorchCalibration:
    """Statistics of one pass, good for every recipe of the space, and the packs that recipes made of them share.

    Attributes:
        structure: what the first batch showed of the model.
        seen: calibration size (as a recipe names it) -> what had been seen by then.
        rows: rows the pass saw.
        row_digests: their digests.
        probe_batches: the first batches' inputs, ``PROBE_ROWS`` rows or a batch more.
        probe_outputs: the float32 model's predictions on them, flat float64 arrays.
        packs: quantized weights; half of the float model's bytes at most.
        unseen: calibration size -> activation of which nothing but zeros was seen -> see ``unseen_ranges``.
        replay: the float32 activations that probes reuse, made by the first probe that can.
        settled: where weights are read that the model computes before each forward.
    """

    structure: Structure
    seen: dict[str, CalibrationStats]
    rows: int
    row_digests: frozenset[str]
    probe_batches: list[Any]
    probe_outputs: list[np.ndarray]
    packs: PackCache
    unseen: dict[str, dict[str, float]] = field(default_factory=dict)
    replay: Any = field(default=None, repr=False)
    settled: Settled = field(default_factory=Settled, repr=False)
    _params: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of statistics and structure, 64 hex digits."""
        state = hashlib.sha256(json.dumps(self.structure.to_json(), sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            state.update(name.encode() + array.tobytes())
        return state.hexdigest()

    def save(self, file: Path) -> None:
        """Write statistics and structure as safetensors."""
        metadata = {"version": "2", "rows": str(self.rows), "structure": json.dumps(self.structure.to_json())}
        tensorfile.write(self._arrays(), file, metadata)

    def params(
        self, size: str, activation: str, spec: QuantSpec, smoothing: Smoothing | None = None
    ) -> ActivationParams:
        """Return scale and zero point of an activation under a spec, from the statistics of one calibration size.

        With ``smoothing`` they are those of the activation divided by its vector, exact from the channels' ranges.

        Raises:
            LoweringError: calibration has not seen the activation, or saw values that are not finite, or smoothing
                is asked of another algorithm than minmax.
        """
        key = (size, activation, spec, smoothing)
        if key not in self._params:
            low, high = self._range(size, activation, spec, smoothing)
            if not np.isfinite([low, high]).all():
                raise LoweringError(f"{activation}: calibration saw the range {low} to {high}")
            self._params[key] = activation_params(low, high, spec)
        found: ActivationParams = self._params[key]
        return found

    def channels(self, size: str, activation: str) -> ChannelStats | None:
        """Return the channels' statistics of an op's input, None where calibration kept none."""
        return self.seen[size].channels.get(activation) if size in self.seen else None

    def smoothing(self, model: torch.nn.Module, size: str, name: str, strength: float) -> Smoothing | None:
        """Return the smoothing of op ``name``'s input: one for all ops that read it, None for a strength of 0.

        Raises:
            LoweringError: calibration kept no channel ranges of the input.
        """
        if not strength:
            return None
        source = self.structure.input_of(name)
        key = (size, source, strength, "smoothing")
        if key not in self._params:
            stats = self.channels(size, source)
            readers = [float_op(model, reader, self).weight for reader in self.structure.readers_of(name)]
            if stats is None and source in self.unseen.get(size, {}):
                stats = ChannelStats.zeros(readers[0].shape[1])
            if stats is None:
                raise LoweringError(f"{name}: smoothing needs the channels' ranges, and calibration kept none")
            columns = torch.stack([weight.detach().abs().amax(dim=0) for weight in readers])  # (readers, in)
            self._params[key] = smoothing_for(stats.low, stats.high, columns.amax(dim=0), strength)
        found: Smoothing = self._params[key]
        return found

    def _range(self, size: str, activation: str, spec: QuantSpec, smoothing: Smoothing | None) -> tuple[float, float]:
        usual = self.unseen.get(size, {}).get(activation)
        if usual is not None:
            return -usual, usual
        stats = self.seen[size].stats.get(activation) if size in self.seen else None
        if stats is None:
            raise LoweringError(f"calibration of {size or 'no size'} has not seen {activation}")
        if smoothing is None:
            return activation_range(stats, spec.algorithm, max_activation_code(spec.bits), spec.scheme)
        channels = self.channels(size, activation)
        if channels is None or spec.algorithm != "minmax":
            raise LoweringError(f"{activation}: smoothing takes the range of minmax, not of {spec.algorithm}")
        low, high = ((bound - smoothing.centre) / smoothing.vector for bound in (channels.low, channels.high))
        return float(low.min()), float(high.max())

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {}
        for size, seen in self.seen.items():
            for activation, stats in seen.stats.items():
                arrays[f"{size}/{activation}/range"] = np.array([stats.low, stats.high, stats.reach, stats.zeros])
                arrays[f"{size}/{activation}/counts"] = stats.counts
            for activation, channels in seen.channels.items():
                arrays[f"{size}/{activation}/channel_low"] = channels.low.numpy()
                arrays[f"{size}/{activation}/channel_high"] = channels.high.numpy()
                arrays[f"{size}/{activation}/channel_mean"] = channels.mean.numpy()
        return arrays


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
    packs = PackCache(sum(p.numel() * p.element_size() for p in model.parameters()) // 2)
    unseen = _unseen(clone, structure, snapshots)
    inputs_kept, outputs_kept = probes.inputs, probes.outputs
    return TorchCalibration(structure, snapshots, rows, frozenset(digests), inputs_kept, outputs_kept, packs, unseen)


@dataclass
class Probes:
    """What probes are made on: the first batches' inputs and what the float model says to them, padding left out."""

    inputs: list[Any] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    rows: int = 0

    def take(self, inputs: Any, outputs: Any, padding: Padding) -> None:
        """Keep a batch where there are not ``PROBE_ROWS`` rows yet."""
        if self.rows < PROBE_ROWS:
            self.inputs.append(inputs)
            self.outputs.append(flat_predictions(outputs, padding.predictions_without))
        self.rows += rows_of(inputs)


def _begin(
    seen: CalibrationStats, space: SearchSpace, sizes: list[CalibrationSize], rows: int, padding: Padding
) -> None:
    """Settle how batches are taken, from the first one's rows and masks."""
    kept_rows = -(-SAMPLE_ROWS // _batches_to_come(sizes, rows))
    seen.intake = Intake(_needs_histogram(space), kept_rows)
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
            features = inner_op(model.get_submodule(name)).in_features
            seen.channels.setdefault(structure.input_of(name), ChannelStats.empty(features))


def _note_indices(name: str, seen: CalibrationStats) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        seen.take_indices(name, next(iter((*args, *kwargs.values()))))

    return hook


def _batches_to_come(sizes: list[CalibrationSize], rows: int) -> int:
    """Return how many batches the longest size takes, judged by the rows of the first."""
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
