"""A model with its calibration, and the caches that recipes lowered from the two share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ilit.errors import LoweringError
from ilit.recipe import QuantSpec
from ilit_pytorch.calibration.result import TorchCalibration
from ilit_pytorch.lowering.fold import folded
from ilit_pytorch.lowering.packs import PackCache
from ilit_pytorch.lowering.replay import Replay
from ilit_pytorch.model.clone import submodule, writes
from ilit_pytorch.model.computed_weights import SettledClone
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.model.weights import output_first
from ilit_pytorch.quantization.observers import ChannelStats
from ilit_pytorch.quantization.qparams import ActivationParams
from ilit_pytorch.quantization.smoothing import Smoothing, smoothing_for
from ilit_pytorch.tracing.ops import inner_op

SmoothingKey = tuple[str, str, float]
"""Calibration size, the op's input as calibration names it, strength."""
ParamsKey = tuple[str, str, QuantSpec, Smoothing | None]
"""Calibration size, activation, its spec and its smoothing."""


@dataclass
class LoweringCache:
    """What recipes of one calibration share; each part is made when it is first asked for, and nothing is saved.

    It never refers to the calibration, so that it can be held weakly by it and dies with it.

    Attributes:
        packs: quantized weights.
        settled: where weights are read that the model computes before each forward.
        params: scales and zero points of activations.
        smoothings: smoothings of inputs.
        folds: convolutions with what is folded into them, each with the tensors it was made of and their writes.
        replay: the float32 activations that probes reuse, made by the first probe that can.
    """

    packs: PackCache
    settled: SettledClone = field(default_factory=SettledClone)
    params: dict[ParamsKey, ActivationParams] = field(default_factory=dict)
    smoothings: dict[SmoothingKey, Smoothing] = field(default_factory=dict)
    folds: dict[str, tuple[list[tuple[torch.Tensor, Any]], Any]] = field(default_factory=dict)
    replay: Replay | None = None

    @classmethod
    def for_model(cls, model: torch.nn.Module) -> LoweringCache:
        """Return an empty cache, whose packs take half of the float model's bytes at most."""
        return cls(PackCache(sum(p.numel() * p.element_size() for p in model.parameters()) // 2))


@dataclass(frozen=True)
class LoweringSession:
    """What lowering and probing are given beside a recipe.

    Attributes:
        model: the user's float model, uncompiled.
        calibration: its statistics.
        cache: what recipes share; the adapter's, or one that ends with this session.
    """

    model: torch.nn.Module
    calibration: TorchCalibration
    cache: LoweringCache

    @property
    def structure(self) -> Structure:
        """The calibrated model's structure."""
        return self.calibration.structure

    def float_op(self, name: str) -> Any:
        """Return the float op at a path, its weight the one that the next forward would use.

        Returns:
            The Linear, convolution or Embedding: the user's own, or a clone's where its weight is computed. A
            convolution with a fold is one that computes what its BatchNorm gives.
        """
        model = self.model
        if self.structure.sites[name].computed:
            model = self.cache.settled.clone_of(model, self.calibration.probe_batches[0])
        op = inner_op(submodule(model, name))
        fold = self.structure.folds.get(name)
        return op if fold is None else self._folded(name, op, submodule(model, fold.norm))

    def _folded(self, name: str, conv: Any, norm: Any) -> Any:
        """Return ``folded``, made again once a tensor that it is made of is another or was written to."""
        held = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        state = [(tensor, writes(tensor)) for tensor in held if tensor is not None]
        known, op = self.cache.folds.get(name, ([], None))
        same = len(known) == len(state) and all(a is b and m == n for (a, m), (b, n) in zip(known, state, strict=True))
        if not same or any(tensor.is_inference() for tensor, _ in state):  # such a tensor has no count of its writes
            op = folded(conv, norm)
            self.cache.folds[name] = (state, op)
        return op

    def params(
        self, size: str, activation: str, spec: QuantSpec, smoothing: Smoothing | None = None
    ) -> ActivationParams:
        """Return ``TorchCalibration.params``, computed once.

        Raises:
            LoweringError: as there.
        """
        key = (size, activation, spec, smoothing)
        if key not in self.cache.params:
            self.cache.params[key] = self.calibration.params(*key)
        return self.cache.params[key]

    def smoothing(self, size: str, name: str, strength: float) -> Smoothing | None:
        """Return the smoothing of op ``name``'s input: one for all ops that read it, None for a strength of 0.

        Raises:
            LoweringError: there are no channel ranges of the input.
        """
        if not strength:
            return None
        key = (size, self.structure.input_of(name), strength)
        if key not in self.cache.smoothings:
            self.cache.smoothings[key] = self._new_smoothing(size, name, strength)
        return self.cache.smoothings[key]

    def _new_smoothing(self, size: str, name: str, strength: float) -> Smoothing:
        source = self.structure.input_of(name)
        stats = self.calibration.channels(size, source)
        readers = [output_first(self.float_op(reader)) for reader in self.structure.readers_of(name)]
        if stats is None and source in self.calibration.unseen.get(size, {}):
            stats = ChannelStats.zeros(readers[0].shape[1])
        if stats is None:
            raise LoweringError(f"{name}: smoothing needs the channels' ranges, and calibration recorded none")
        columns = torch.stack([weight.detach().abs().amax(dim=0) for weight in readers])  # (readers, in)
        return smoothing_for(stats.low, stats.high, columns.amax(dim=0), strength)
