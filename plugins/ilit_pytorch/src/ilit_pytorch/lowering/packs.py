"""Quantized weights, packed once for every recipe that uses them, in a cache of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ilit.recipe import QuantSpec

PackKey = tuple[str, QuantSpec, float, str]
"""Op, weight spec, smoothing strength, and the calibration size that smoothing and mean inputs are from."""


@dataclass(frozen=True)
class Pack:
    """A quantized weight, ready to run. Nothing of it is ever written.

    Attributes:
        codes: what the kernels take: packed, or for an embedding plain int8 (rows, width).
        scale: float32 (out,).
        shift: bias correction, float32 (out,); None where the mean input is not known.
        centre: what smoothing adds to the bias, float32 (out,); None without smoothing.
    """

    codes: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor | None = None
    centre: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory of the codes, int8."""
        return self.codes.numel()


@dataclass
class _Entry:
    weight: torch.Tensor
    version: int
    pack: Pack


@dataclass
class PackCache:
    """The packs used last, ``limit`` bytes of them at most.

    A pack is used again only for the very tensor it was made of, as long as torch has not counted a write to it.
    """

    limit: int
    entries: OrderedDict[PackKey, _Entry] = field(default_factory=OrderedDict)
    bytes: int = 0

    def get(self, key: PackKey, weight: torch.Tensor, make: Callable[[], Pack]) -> Pack:
        """Return the pack of ``weight`` under ``key``, made by ``make`` where it is not here."""
        if weight.is_inference():
            return make()  # such a tensor has no count of its writes
        entry = self.entries.get(key)
        if entry is not None and entry.weight is weight and entry.version == weight._version:  # noqa: SLF001 - no other
            self.entries.move_to_end(key)
            return entry.pack
        pack = make()
        self._drop(key)
        self.entries[key] = _Entry(weight, weight._version, pack)  # noqa: SLF001 - as above
        self.bytes += pack.bytes
        while self.bytes > self.limit and len(self.entries) > 1:
            self._drop(next(iter(self.entries)))
        return pack

    def _drop(self, key: PackKey) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.pack.bytes
