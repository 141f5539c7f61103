"""A framework of forty lines of numpy with real quantization, and an adapter for it: the loop without torch.

``fake_model`` makes a small chain of matrices, ``fake_data`` rows it is right about, ``FakeAdapter`` quantizes it.
Quantizing an op really rounds its weights and its input. Ops named as ``sensitive`` get an input with one outlier
channel, which leaves the float model as it is and ruins the op in INT8, so that a search has something to find.
The module is also a plugin: register it, and ``framework: fake`` and ``metric: fake_accuracy`` work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ilit.adapter import Calibration, Cpu, Measurement
from ilit.errors import ArtefactError, DataError, LoweringError, ModelError
from ilit.hookspecs import hookimpl
from ilit.metric import Metric
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, Op, SearchSpace
from ilit.testing.fake_metric import FakeAccuracy
from ilit.testing.tensors import Array, read_tensors, write_tensors

OUTLIER = 2000.0
_WEIGHT = QuantSpec("int8", "sym", "per_channel")
_INPUT = QuantSpec("uint8", "asym", "per_tensor")
CANDIDATES = (
    OpConfig("int8", "static", _WEIGHT, _INPUT),
    OpConfig("int8", "static", _WEIGHT, replace(_INPUT, algorithm="percentile")),
    OpConfig("int8", "static", replace(_WEIGHT, granularity="per_tensor"), _INPUT),
    OpConfig("int8", "dynamic", _WEIGHT, _INPUT),
    FLOAT32,
)
Range = tuple[float, float]


# --- The model -----------------------------------------------------------------------------------------------------


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
        """Return what an op runs in."""
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
    classes: int = 4,
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
    sizes = [width] * ops + [classes]
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

    The rows are random; of three times as many those are kept that the model is surest of, as a trained model would
    be. ``input`` is float32 of shape (batch_size, width), ``label`` int64 of shape (batch_size,).
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


# --- The adapter ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeCalibration:
    """Ranges of each op's input. ``ranges`` is size -> algorithm -> op -> range; ``kept`` are rows for probes."""

    ranges: Mapping[str, Mapping[str, Mapping[str, Range]]]
    kept: Array
    rows: int
    row_digests: frozenset[str]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ranges and kept rows."""
        text = json.dumps(self.ranges, sort_keys=True).encode()
        return hashlib.sha256(text + self.kept.tobytes()).hexdigest()

    def save(self, file: Path) -> None:
        """Write ranges, float32 of shape (2,) each, and kept rows."""
        flat = {
            f"{size}/{algorithm}/{op}": np.array(found, np.float32)
            for size, algorithms in self.ranges.items()
            for algorithm, ops in algorithms.items()
            for op, found in ops.items()
        }
        write_tensors(file, {**flat, "kept": self.kept})


class FakeAdapter:
    """The adapter of ``FakeModel``; deterministic, measured times included."""

    name: ClassVar[str] = "fake"

    def __init__(self) -> None:
        self._threads = 1

    def cpu(self) -> Cpu:
        """Return a CPU of no vendor."""
        return Cpu("fake CPU", "none", "V", self._threads)

    def set_threads(self, count: int) -> None:
        """Take note of the number; nothing here runs in threads."""
        self._threads = count

    def versions(self) -> Mapping[str, str]:
        """Return numpy's version."""
        return {"numpy": np.__version__}

    def model_digest(self, model: FakeModel) -> str:
        """Return the SHA-256 of the weights."""
        return hashlib.sha256(b"".join(array.tobytes() for array in model.weights.values())).hexdigest()

    def describe(self, model: Any, example: Any) -> SearchSpace:
        """Offer each op static, dynamic and float32."""
        if not isinstance(model, FakeModel):
            raise ModelError(f"a {type(model).__name__} is no FakeModel; make one with ilit.testing.fake_model")
        _run(model, example)
        ops = {name: Op(name, "linear", CANDIDATES) for name in model.weights if name not in model.patched}
        left = {name: "its forward was replaced" for name in model.weights if name in model.patched}
        return SearchSpace(ops, left_in_float=left)

    def describe_all(self, model: Any, batches: Iterable[Any], sizes: Sequence[CalibrationSize]) -> SearchSpace:
        """See ``describe``; a chain reaches every op on its first batch, so no more are looked at."""
        del sizes
        return self.describe(model, next(iter(batches)))

    def calibrate(self, model: FakeModel, batches: Iterable[Any], space: SearchSpace) -> FakeCalibration:
        """Note the inputs of every op over as many batches as the longest size takes."""
        taken, rows = [], 0
        for number, batch in enumerate(batches):
            if all((rows if size.unit == "rows" else number) >= size.count for size in space.calibrations):
                break
            taken.append(_inputs(batch))
            rows += len(taken[-1])
        if not taken:
            raise DataError("q_dataloader: yields no batch; check its data")
        ranges = {}
        for size in space.calibrations:
            part = taken[: size.count] if size.unit == "batches" else [np.concatenate(taken)[: size.count]]
            ranges[str(size)] = _ranges(model, np.concatenate(part))
        whole = np.concatenate(taken)
        return FakeCalibration(ranges, whole[:32], len(whole), frozenset(_digests(whole)))

    def lower(self, model: FakeModel, recipe: Recipe, calibration: Calibration) -> FakeModel:
        """Return the model in eval mode that rounds as the recipe says."""
        rejected = sorted(model.rejects.intersection(recipe.quantized_ops))
        if rejected:
            raise LoweringError(f"op '{rejected[0]}': the fake engine has no INT8 kernel for it; leave it in float32")
        found = _fake(calibration).ranges.get(recipe.calibration, {})
        ranges = {
            name: found[config.activation.algorithm][name]
            for name, config in recipe.ops.items()
            if config.approach == "static" and config.activation is not None
        }
        return replace(model, recipe=recipe, ranges=ranges, training=False)

    def int8_kernels(self, model: FakeModel) -> int:
        """Return the number of INT8 ops."""
        return sum(model.config(name).quantized for name in model.weights)

    def probe(self, model: FakeModel, recipes: Sequence[Recipe], calibration: Calibration) -> list[float]:
        """Return each recipe's relative output error on the kept rows."""
        kept = _fake(calibration).kept
        wanted = replace(model, recipe=None)(kept)
        return [_distance(self.lower(model, recipe, calibration)(kept), wanted) for recipe in recipes]

    def probe_ops(self, model: FakeModel, recipe: Recipe, calibration: Calibration) -> Mapping[str, float]:
        """Return each INT8 op's relative output error on its float input."""
        lowered, plain = self.lower(model, recipe, calibration), replace(model, recipe=None)
        return {
            name: _distance(lowered.run(name, x), plain.run(name, x))
            for name, x in plain.steps(_fake(calibration).kept)
            if name in recipe.quantized_ops
        }

    def evaluate(
        self, model: FakeModel, loader: Iterable[Any], metric: Metric, on_batch: Callable[[int], None] | None = None
    ) -> float:
        """Return the metric over the loader."""
        rows = 0
        for batch in loader:
            outputs = _run(model, batch)
            metric.update(outputs, batch[1])
            rows += len(outputs)
            if on_batch is not None:
                on_batch(len(outputs))
        if not rows:
            raise DataError("eval_dataloader: yields no batch; check its data")
        return metric.result()

    def row_digests(self, batch: Any) -> list[str]:
        """Return the SHA-256 of each row."""
        return _digests(_inputs(batch))

    def regroup(self, batches: Sequence[Any], groups: Sequence[Sequence[tuple[int, int]]]) -> list[Any]:
        """Return new batches ``(inputs, labels)`` of rows of the given ones."""
        parts = {number: _rows(batches[number]) for number in sorted({b for group in groups for b, _ in group})}
        try:
            return [tuple(np.stack([parts[b][column][r] for b, r in group]) for column in range(2)) for group in groups]
        except ValueError as error:
            raise DataError(f"rows of different shapes cannot share a batch: {error}") from error

    def row_shapes(self, batch: Any) -> list[tuple[int, ...]]:
        """Return each row's own shape."""
        return [row.shape for row in _rows(batch)[0]]

    def zeroed(self, model: FakeModel) -> FakeModel:
        """Return the model with every weight zero."""
        return replace(model, weights={name: np.zeros_like(weight) for name, weight in model.weights.items()})

    def measure(self, model: FakeModel, batch: Any) -> Measurement:
        """Count instead of timing: a nanosecond per weight and row in float, ``int8_speed`` times less in INT8."""
        rows, seconds, size, widest = len(_run(model, batch)), 0.0, 0, 0
        for name, weight in model.weights.items():
            quantized = model.config(name).quantized
            out, into = weight.shape
            seconds += 1e-9 * rows * weight.size / (model.int8_speed if quantized else 1)
            size += weight.size + 4 * out if quantized else 4 * weight.size
            widest = max(widest, rows * (4 * out + (1 if quantized else 4) * into))
        return Measurement(seconds, size, widest)

    def outputs(self, model: FakeModel, batch: Any) -> Array:
        """Return the logits."""
        return _run(model, batch)

    def own_outputs(self, model: FakeModel, batch: Any) -> Array:
        """Return the logits; a frozen model is run as it stands anyway."""
        return _run(model, batch)

    def first_difference(self, model: FakeModel, other: FakeModel, batch: Any) -> str:
        """Return the first op whose output differs."""
        for (name, x), (_, theirs) in zip(model.steps(_inputs(batch)), other.steps(_inputs(batch)), strict=True):
            if name and not np.array_equal(model.run(name, x), other.run(name, theirs), equal_nan=True):
                return name
        return ""

    def check_savable(self, model: FakeModel, float_model: FakeModel, batch: Any, answers: Any) -> None:
        """Refuse weights that are not float32, which is all that ``save`` writes."""
        del float_model, batch, answers
        for name, weight in model.weights.items():
            if weight.dtype != np.float32:
                raise ModelError(f"op '{name}': an artefact holds float32, its weight is {weight.dtype}; convert it")

    def blank(self, model: FakeModel) -> FakeModel:
        """Return the model with NaN in place of every weight."""
        return replace(model, weights={name: np.full_like(weight, np.nan) for name, weight in model.weights.items()})

    def save(self, model: FakeModel, folder: Path) -> None:
        """Write the float weights and what rounds them."""
        if model.recipe is None:
            raise ArtefactError("a model as trained has no recipe to save; lower it first")
        names = {"rejects": sorted(model.rejects), "patched": sorted(model.patched)}
        facts = {"ranges": dict(model.ranges), "int8_speed": model.int8_speed, **names}
        try:
            (folder / "config.json").write_text(json.dumps({"format": 1, **facts}), encoding="utf-8")
            (folder / "recipe.json").write_text(
                json.dumps({"format": 1, "adapter": self.name, "recipe": model.recipe.to_json()}), encoding="utf-8"
            )
            write_tensors(folder / "model.safetensors", model.weights)
        except OSError as error:
            raise ArtefactError(f"{folder}: cannot be written ({error.strerror}); free some space") from error

    def load(self, folder: Path, model: FakeModel | None = None) -> FakeModel:
        """Read what ``save`` wrote; of ``model`` the class alone counts."""
        try:
            facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            recipe = Recipe.from_json(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["recipe"])
            weights = read_tensors(folder / "model.safetensors")
            ranges = {name: (found[0], found[1]) for name, found in facts["ranges"].items()}
            rejects, patched = frozenset(facts["rejects"]), frozenset(facts.get("patched", ()))
            kind = FakeModel if model is None else type(model)
            return kind(weights, rejects, facts["int8_speed"], False, recipe, ranges, patched)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{folder}: is no saved fake model ({error}); tune again") from error


def _fake(calibration: Calibration) -> FakeCalibration:
    if not isinstance(calibration, FakeCalibration):
        raise ModelError(f"a {type(calibration).__name__} is no calibration of the fake adapter; calibrate with it")
    return calibration


def _inputs(batch: Any) -> Array:
    """Return the input array of shape (rows, width) of a batch ``(input, label)``."""
    given = batch[0]
    if isinstance(given, Mapping):
        extra = sorted(set(given) - {"x"})
        if extra or "x" not in given:
            raise DataError(f"the fake model takes 'x', the batch has {', '.join(given) or 'nothing'}; rename its keys")
        given = given["x"]
    elif isinstance(given, (tuple, list)):
        (given,) = given
    return np.asarray(given, np.float32)


def _rows(batch: Any) -> tuple[Array, npt.NDArray[Any]]:
    """Return inputs (rows, width) and labels (rows, ...)."""
    inputs, labels = _inputs(batch), np.asarray(batch[1])
    if not inputs.ndim or labels.shape[:1] != inputs.shape[:1]:
        raise DataError(f"labels {labels.shape} and inputs {inputs.shape} do not tell rows apart; give one label a row")
    return inputs, labels


def _run(model: FakeModel, batch: Any) -> Array:
    inputs, width = _inputs(batch), next(iter(model.weights.values())).shape[1]
    if inputs.ndim != 2 or inputs.shape[1] != width:
        raise DataError(f"the fake model takes inputs of shape (rows, {width}), the batch has {inputs.shape}")
    return model(inputs)


def _ranges(model: FakeModel, inputs: Array) -> dict[str, dict[str, Range]]:
    steps = {name: x for name, x in replace(model, recipe=None).steps(inputs) if name}
    return {
        "minmax": {name: (float(x.min()), float(x.max())) for name, x in steps.items()},
        "percentile": {
            name: (float(np.percentile(x, 0.1)), float(np.percentile(x, 99.9))) for name, x in steps.items()
        },
    }


def _digests(inputs: Array) -> list[str]:
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in inputs]


def _distance(ours: Array, wanted: Array) -> float:
    return float(((ours - wanted) ** 2).mean() / (wanted.var() or 1.0))


# --- The plugin ----------------------------------------------------------------------------------------------------


@hookimpl
def ilit_adapters() -> list[type[Any]]:
    """Offer ``fake``."""
    return [FakeAdapter]


@hookimpl
def ilit_metrics() -> list[type[Any]]:
    """Offer ``fake_accuracy``."""
    return [FakeAccuracy]


@hookimpl
def ilit_select_adapter(model: Any) -> str | None:
    """Take fake models."""
    return FakeAdapter.name if isinstance(model, FakeModel) else None
