"""The fake framework's model: a small chain of matrices that really rounds where it is quantized, and data for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ilit.errors import ModelError
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.testing.fake.tensors import Array

OUTLIER = 2000.0
CLASSES = 4
Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class FakeModel:
    """A chain ``x -> relu(x @ w0.T) -> ... -> x @ wn.T``; frozen, and its arrays are read-only.

    Attributes:
        weights: op name -> float32 of shape (out, in), in order.
        rejects: ops whose INT8 lowering the "engine" refuses.
        patched: ops whose forward somebody has replaced, so that they are none to the adapter and stay in float.
        int8_speed: how many times as fast as float an INT8 op is.
        training: whether it is in train mode, which changes nothing but itself.
        recipe: what its ops run in; None for a model as trained.
        ranges: op name -> range of its input, for static ops.
    """

    weights: Mapping[str, Array] = field(repr=False)
    rejects: frozenset[str] = frozenset()
    int8_speed: float = 2.0
    training: bool = True
    recipe: Recipe | None = field(default=None, repr=False)
    ranges: Mapping[str, Range] = field(default_factory=dict, repr=False)
    patched: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for array in self.weights.values():
            array.setflags(write=False)

    def __call__(self, x: Array) -> Array:
        """Return the logits, float32 of shape (rows, classes), of inputs of shape (rows, width)."""
        for name, values in self.steps(x):
            if name == "":
                return values
        raise ModelError("the fake model has no op; make it with fake_model")

    def steps(self, x: Array) -> Iterable[tuple[str, Array]]:
        """Yield each op's name with its input, and last ``""`` with the logits."""
        last = list(self.weights)[-1]
        for name in self.weights:
            yield name, x
            x = self.run(name, x)
            x = x if name == last else np.maximum(x, np.float32(0))
        yield "", x

    def run(self, name: str, x: Array) -> Array:
        """Return one op's output, shape (rows, out), on inputs of shape (rows, in)."""
        config, weight = self.config(name), self.weights[name]
        if config.activation is not None:
            found = (float(x.min()), float(x.max())) if config.approach == "dynamic" else self.ranges[name]
            x = _rounded(x, config.activation, *found)
        if config.weight is not None:
            weight = _rounded_weight(weight, config.weight)
        product: Array = x @ weight.T  # (rows, in) @ (in, out)
        return product

    def config(self, name: str) -> OpConfig:
        """Return an op's config, float32 where the recipe does not name it."""
        return FLOAT32 if self.recipe is None else self.recipe.ops.get(name, FLOAT32)


def _rounded(values: Array, spec: QuantSpec, low: float, high: float) -> Array:
    """Return ``values`` after quantization to the range and back."""
    levels = 2**spec.bits - 1
    if spec.scheme == "sym":
        reach = max(abs(low), abs(high))
        low, high = -reach, reach
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / levels or 1.0)
    codes = np.clip(np.round((values - np.float32(low)) / scale), 0, levels)
    return np.asarray(codes * scale + np.float32(low), np.float32)


def _rounded_weight(weight: Array, spec: QuantSpec) -> Array:
    """Return a weight of shape (out, in) after symmetric quantization and back, per row or as a whole."""
    reach = np.abs(weight).max(axis=1, keepdims=True) if spec.granularity == "per_channel" else np.abs(weight).max()
    scale = np.where(reach > 0, reach, 1) / (2 ** (spec.bits - 1) - 1)
    return np.asarray(np.round(weight / scale) * scale, np.float32)


def fake_model(
    ops: int = 4,
    sensitive: Sequence[str] = (),
    width: int = 16,
    seed: int = 0,
    rejects: Iterable[str] = (),
    int8_speed: float = 2.0,
    patched: Iterable[str] = (),
) -> FakeModel:
    """Return a model with ops ``layer0`` to ``layer{ops - 1}``, the same for the same arguments.

    Each sensitive op, any but ``layer0``, reads one channel that the op before it has multiplied by 2000; its own
    column for that channel is divided by as much, so that the float model's function stays.

    Raises:
        ValueError: a sensitive op that is not there, or ``layer0``, which has no op before it.
    """
    rng = np.random.default_rng(seed)
    names = [f"layer{index}" for index in range(ops)]
    sizes = [width] * ops + [CLASSES]
    weights = {
        name: (rng.standard_normal((sizes[index + 1], sizes[index])) / np.sqrt(width / 2)).astype(np.float32)
        for index, name in enumerate(names)
    }
    for name in sensitive:
        if name not in names[1:]:
            raise ValueError(f"{name!r} cannot be sensitive; choose among {', '.join(names[1:])}")
        weights[names[names.index(name) - 1]][0, :] *= np.float32(OUTLIER)
        weights[name][:, 0] /= np.float32(OUTLIER)
    return FakeModel(weights, frozenset(rejects), int8_speed, patched=frozenset(patched))


def fake_data(
    model: FakeModel, rows: int = 256, batch_size: int = 32, seed: int = 1, wrong: float = 0.1
) -> list[tuple[Array, npt.NDArray[np.int64]]]:
    """Return batches ``(input, label)`` on which the float model scores about ``1 - wrong``.

    The rows are random: of three times as many, those that the model is surest of, as a trained model would be.
    ``input`` is float32 of shape (batch_size, width), ``label`` int64 of shape (batch_size,).
    """
    rng = np.random.default_rng(seed)
    width = next(iter(model.weights.values())).shape[1]
    inputs = rng.standard_normal((3 * rows, width)).astype(np.float32)
    logits = model(inputs)
    best = np.sort(logits, axis=1)
    surest = np.sort(np.argsort(best[:, -2] - best[:, -1])[:rows])
    inputs, labels = inputs[surest], logits[surest].argmax(axis=1)
    spoiled = rng.random(rows) < wrong
    labels = np.where(spoiled, (labels + 1) % logits.shape[1], labels).astype(np.int64)
    return [(inputs[at : at + batch_size], labels[at : at + batch_size]) for at in range(0, rows, batch_size)]
