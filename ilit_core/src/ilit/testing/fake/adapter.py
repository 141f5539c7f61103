"""The adapter of the fake framework: every method and every ability, with numpy alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ilit.adapter import Calibration, Cpu, KernelCalls, KernelProfile, Measurement
from ilit.errors import ArtefactError, DataError, LoweringError, ModelError
from ilit.metric import Metric
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, Op, SearchSpace
from ilit.testing.fake.model import FakeModel, Range
from ilit.testing.fake.tensors import Array, read_tensors, write_tensors

_WEIGHT = QuantSpec("int8", "sym", "per_channel")
_INPUT = QuantSpec("uint8", "asym", "per_tensor")
CANDIDATES = (
    OpConfig("int8", "static", _WEIGHT, _INPUT),
    OpConfig("int8", "static", _WEIGHT, replace(_INPUT, algorithm="percentile")),
    OpConfig("int8", "static", replace(_WEIGHT, granularity="per_tensor"), _INPUT),
    OpConfig("int8", "dynamic", _WEIGHT, _INPUT),
    FLOAT32,
)


@dataclass(frozen=True)
class FakeCalibration:
    """Ranges of each op's input.

    Attributes:
        ranges: calibration size -> algorithm -> op -> range.
        probe_rows: inputs for probes, float32 of shape (rows, width).
        rows: rows the pass saw.
        row_digests: a digest of each.
    """

    ranges: Mapping[str, Mapping[str, Mapping[str, Range]]]
    probe_rows: Array
    rows: int
    row_digests: frozenset[str]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ranges and probe rows."""
        text = json.dumps(self.ranges, sort_keys=True).encode()
        return hashlib.sha256(text + self.probe_rows.tobytes()).hexdigest()

    def save(self, file: Path) -> None:
        """Write ranges, float32 of shape (2,) each, and probe rows."""
        flat = {
            f"{size}/{algorithm}/{op}": np.array(found, np.float32)
            for size, algorithms in self.ranges.items()
            for algorithm, ops in algorithms.items()
            for op, found in ops.items()
        }
        write_tensors(file, {**flat, "probe_rows": self.probe_rows})


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
        """Return each recipe's relative output error on the probe rows."""
        rows = _fake(calibration).probe_rows
        wanted = replace(model, recipe=None)(rows)
        return [_distance(self.lower(model, recipe, calibration)(rows), wanted) for recipe in recipes]

    def probe_ops(self, model: FakeModel, recipe: Recipe, calibration: Calibration) -> Mapping[str, float]:
        """Return each INT8 op's relative output error on its float input."""
        lowered, plain = self.lower(model, recipe, calibration), replace(model, recipe=None)
        return {
            name: _distance(lowered.run(name, x), plain.run(name, x))
            for name, x in plain.steps(_fake(calibration).probe_rows)
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

    def profile_kernels(self, model: FakeModel, batch: Any) -> KernelProfile:
        """Count a product for each op, as long as ``measure`` says."""
        rows, int8, others = len(_run(model, batch)), list[KernelCalls](), list[KernelCalls]()
        for name, weight in model.weights.items():
            seconds = 1e-9 * rows * weight.size
            if model.config(name).quantized:
                int8.append(KernelCalls("fake::int8", (name,), 1, seconds / model.int8_speed, weight.size))
            else:
                others.append(KernelCalls("fake::float", (), 1, seconds, 4 * weight.size))
        return KernelProfile(tuple(int8), tuple(others))

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
