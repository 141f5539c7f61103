"""The result of calibration: statistics that are good for every recipe, and nothing that depends on one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ilit.errors import LoweringError
from ilit.recipe import QuantSpec
from ilit_pytorch import tensorfile
from ilit_pytorch.calibration.stats import CalibrationStats
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.quantization.clipping import activation_range
from ilit_pytorch.quantization.observers import ChannelStats
from ilit_pytorch.quantization.qparams import ActivationParams, activation_params, max_activation_code
from ilit_pytorch.quantization.smoothing import Smoothing

FORMAT_VERSION = "3"
"""Of ``calibration.safetensors``; 3 also holds the activations never seen but as zeros."""


@dataclass(frozen=True, eq=False)
class TorchCalibration:
    """Statistics of one pass, and the data that recipes are probed on.

    Attributes:
        structure: what the first batch showed of the model.
        seen: calibration size (as a recipe names it) -> what had been seen by then.
        rows: rows the pass saw.
        row_digests: their digests.
        probe_batches: the first batches' inputs, ``PROBE_ROWS`` rows or a batch more.
        probe_outputs: the float32 model's predictions on them, flat float64 arrays.
        unseen: calibration size -> activation of which nothing but zeros was seen -> see ``unseen_ranges``.
    """

    structure: Structure
    seen: dict[str, CalibrationStats]
    rows: int
    row_digests: frozenset[str]
    probe_batches: list[Any]
    probe_outputs: list[np.ndarray]
    unseen: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of statistics and structure, 64 hex digits."""
        state = hashlib.sha256(json.dumps(self.structure.to_json(), sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            state.update(name.encode() + array.tobytes())
        return state.hexdigest()

    def save(self, file: Path) -> None:
        """Write statistics and structure as safetensors."""
        metadata = {
            "version": FORMAT_VERSION,
            "rows": str(self.rows),
            "structure": json.dumps(self.structure.to_json()),
        }
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
        low, high = self._range(size, activation, spec, smoothing)
        if not np.isfinite([low, high]).all():
            raise LoweringError(f"{activation}: calibration saw the range {low} to {high}")
        return activation_params(low, high, spec)

    def channels(self, size: str, activation: str) -> ChannelStats | None:
        """Return the channels' statistics of an op's input, None where there are none."""
        return self.seen[size].channels.get(activation) if size in self.seen else None

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
