"""One pass over calibration data: what every recipe of the space needs to know about activations."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from ilit.errors import DataError, LoweringError
from ilit.recipe import QuantSpec
from ilit.space import CalibrationSize, SearchSpace
from ilit_pytorch.batch import batches_of, call, check_input, flat_predictions, model_input, row_digests, rows_of
from ilit_pytorch.clone import leave_fast_path, structural_clone
from ilit_pytorch.observers import ActivationStats, activation_range
from ilit_pytorch.qparams import ActivationParams, activation_params, max_activation_code
from ilit_pytorch.trace import Structure, trace

logger = logging.getLogger("ilit.pytorch")

PROBE_ROWS = 64  # rows kept, inputs and float32 outputs, for probes


@dataclass
class TorchCalibration:
    """Statistics of one pass, good for every recipe of the space.

    Attributes:
        structure: what the first batch showed of the model.
        stats: calibration size (as a recipe names it) -> activation -> its statistics. ``x:in`` is the input of module
            ``x``, ``x:out`` its output.
        rows: rows the pass saw.
        row_digests: their digests.
        probe_batches: the first batches' inputs, ``PROBE_ROWS`` rows or a batch more.
        probe_outputs: the float32 model's predictions on them, flat float64 arrays.
    """

    structure: Structure
    stats: dict[str, dict[str, ActivationStats]]
    rows: int
    row_digests: frozenset[str]
    probe_batches: list[Any]
    probe_outputs: list[np.ndarray]
    _params: dict[tuple[str, str, QuantSpec], ActivationParams] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of statistics and structure, 64 hex digits."""
        state = hashlib.sha256(json.dumps(asdict(self.structure), sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            state.update(name.encode() + array.tobytes())
        return state.hexdigest()

    def save(self, file: Path) -> None:
        """Write statistics and structure as safetensors."""
        metadata = {"version": "1", "rows": str(self.rows), "structure": json.dumps(asdict(self.structure))}
        save_file(self._arrays(), file, metadata=metadata)

    def params(self, size: str, activation: str, spec: QuantSpec) -> ActivationParams:
        """Return scale and zero point of an activation under a spec, from the statistics of one calibration size.

        Raises:
            LoweringError: calibration has not seen the activation, or saw values that are not finite.
        """
        key = (size, activation, spec)
        if key not in self._params:
            stats = self.stats.get(size, {}).get(activation)
            if stats is None:
                raise LoweringError(f"calibration of {size or 'no size'} has not seen {activation}")
            if not np.isfinite([stats.low, stats.high]).all():
                raise LoweringError(f"{activation}: calibration saw the range {stats.low} to {stats.high}")
            low, high = activation_range(stats, spec.algorithm, max_activation_code(spec.bits))
            self._params[key] = activation_params(low, high, spec)
        return self._params[key]

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {}
        for size, by_activation in self.stats.items():
            for activation, stats in by_activation.items():
                arrays[f"{size}/{activation}/range"] = np.array([stats.low, stats.high, stats.reach])
                arrays[f"{size}/{activation}/counts"] = stats.counts
        return arrays


def calibrate(model: torch.nn.Module, loader: Iterable[Any], space: SearchSpace) -> TorchCalibration:
    """Run the model over as many batches as the longest of ``space.calibrations`` takes.

    Raises:
        DataError: the loader yields nothing, or fewer rows or batches than the smallest size asks for.
    """
    sizes = sorted(space.calibrations, key=lambda size: size.count)
    structure: Structure | None = None
    stats: dict[str, ActivationStats] = {}
    snapshots: dict[str, dict[str, ActivationStats]] = {}
    probe_batches: list[Any] = []
    probe_outputs: list[np.ndarray] = []
    digests: set[str] = set()
    rows = batches = 0
    clone = structural_clone(model)
    leave_fast_path(clone)
    with torch.no_grad():
        for batch in batches_of(loader, "calibration"):
            inputs = model_input(batch)
            if structure is None:
                structure = trace(model, batch)
                observe(clone, structure, stats, _needs_histogram(space))
            check_input(model, inputs)
            outputs = call(clone, inputs)
            if rows < PROBE_ROWS:
                probe_batches.append(inputs)
                probe_outputs.append(flat_predictions(outputs))
            digests.update(row_digests(batch))
            rows, batches = rows + rows_of(inputs), batches + 1
            for size in sizes:
                if str(size) not in snapshots and _reached(size, rows, batches):
                    snapshots[str(size)] = {name: s.snapshot() for name, s in stats.items()}
            if len(snapshots) == len(sizes):
                break
    if structure is None:
        raise DataError("calibration: no size was asked for")
    _settle(sizes, snapshots, stats, rows, batches)
    return TorchCalibration(structure, snapshots, rows, frozenset(digests), probe_batches, probe_outputs)


def observe(clone: torch.nn.Module, structure: Structure, stats: dict[str, ActivationStats], histogram: bool) -> None:
    """Put hooks on the clone that fill ``stats`` in every forward pass."""

    def take(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            stats.setdefault(name, ActivationStats()).update(value, histogram)

    def watch_input(name: str) -> None:
        clone.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, kwargs: take(f"{name}:in", next(iter((*args, *kwargs.values())))), with_kwargs=True
        )

    def watch_output(name: str, path: str = "") -> None:
        clone.get_submodule(path or name).register_forward_hook(
            lambda _module, _args, output: take(f"{name}:out", output)
        )

    for name, site in structure.sites.items():
        if site.kind != "embedding" and not site.source:
            watch_input(name)
        if site.island >= 0:
            watch_output(name)
    for name in (*structure.shared, *(n for island in structure.islands for n in (*island.stubs, *island.others))):
        watch_output(name)
    for name in (n for island in structure.islands for n in island.functionals):
        watch_output(name, f"{name}.activation_post_process")


def _needs_histogram(space: SearchSpace) -> bool:
    specs = (c.activation for op in space.ops.values() for c in op.candidates if c.approach == "static")
    return any(spec is not None and spec.algorithm != "minmax" for spec in specs)


def _reached(size: CalibrationSize, rows: int, batches: int) -> bool:
    return (rows if size.unit == "rows" else batches) >= size.count


def _settle(
    sizes: list[CalibrationSize],
    snapshots: dict[str, dict[str, ActivationStats]],
    stats: dict[str, ActivationStats],
    rows: int,
    batches: int,
) -> None:
    """Let a loader that ends early serve the one size asked for; refuse several that would all be the same."""
    short = [size for size in sizes if str(size) not in snapshots]
    if len(short) > 1 or (short and len(sizes) > 1):
        raise DataError(
            f"calibration: the loader ends after {batches} batches ({rows} rows), before {short[0]}; "
            "give it more data or ask for less"
        )
    for size in short:
        logger.warning("calibration: asked for %s, the loader ends after %d batches (%d rows)", size, batches, rows)
        snapshots[str(size)] = {name: s.snapshot() for name, s in stats.items()}
