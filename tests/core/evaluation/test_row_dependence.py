"""Rows whose outputs depend on the rows beside them are found out, and then never put into other batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ilit import Trial, Tuner
from ilit.errors import ConfigError
from ilit.evaluation.row_dependence import RECORDED_ROWS, Recorder
from ilit.metric import PairedMetric
from ilit.recipe import FLOAT32
from ilit.testing import FakeAccuracy, FakeAdapter, FakeModel, fake_data, fake_model

PLAIN = fake_model()
CALIBRATION, EVALUATION = fake_data(PLAIN, 128, seed=2), fake_data(PLAIN, 320)
Make = Callable[..., Tuner]


class Centred(FakeModel):
    """Subtracts the batch's own mean from each layer, as a BatchNorm without running statistics does."""

    share = np.float32(1)

    def run(self, name: str, x: Any) -> Any:
        y = super().run(name, x)
        return y - self.share * y.mean(axis=0)


class HardlyCentred(Centred):
    """Subtracts a hundredth of it."""

    share = np.float32(0.01)


class Compared(FakeModel):
    """Answers with the likeness of each row to each other one."""

    def __call__(self, x: Any) -> Any:
        found = super().__call__(x)
        return np.asarray(found @ found.T, np.float32)


class OneSize(FakeModel):
    """Runs on batches of 32 rows only."""

    def __call__(self, x: Any) -> Any:
        if len(x) != 32:
            raise RuntimeError(f"shape '[32, -1]' is invalid for input of {len(x)} rows")
        return super().__call__(x)


class Positioned(FakeModel):
    """Adds what depends on a row's place in its batch, as where the first axis is time."""

    def __call__(self, x: Any) -> Any:
        found = super().__call__(x)
        return found + np.sin(np.arange(len(x), dtype=np.float32))[:, None] * found.std()


class Served(FakeModel):
    """Answers the first 24 rows of a batch, as experts with a capacity do."""

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) * (np.arange(len(x)) < 24)[:, None]


def only_layer2(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for one recipe."""
    yield Trial(space.recipe({"layer2": FLOAT32}))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of every forward pass of ``outputs`` that will be run."""
    rows, plain = list[int](), FakeAdapter.outputs

    def outputs(self: FakeAdapter, model: Any, batch: Any) -> Any:
        rows.append(len(batch[1]))
        return plain(self, model, batch)

    monkeypatch.setattr(FakeAdapter, "outputs", outputs)
    return rows


def tuned(tuner: Make, model: FakeModel, loader: Any = EVALUATION, **tuning: Any) -> tuple[Any, Any, str]:
    """Tune; return the model, the result and the log."""
    ready = tuner(only_layer2, **{"metric": "fake_accuracy", "accuracy_criterion": {"absolute": 0.9}, **tuning})
    found = ready.tune(model, CALIBRATION, loader)
    assert ready.result is not None
    return found, ready.result, (ready.result.folder / "log.txt").read_text()


def by_hand(model: Any, loader: Any = EVALUATION) -> float:
    """Score a model in the loader's own batches."""
    return float(np.mean(np.concatenate([model(x).argmax(axis=1) == y for x, y in loader])))


SORTED = [(x[np.argsort(y)], np.sort(y)) for x, y in [[np.concatenate(part) for part in zip(*EVALUATION, strict=True)]]]
UNLIKE = [(x[at : at + 32], y[at : at + 32]) for x, y in SORTED for at in range(0, len(y), 32)]


@pytest.mark.parametrize("kind", [Centred, HardlyCentred, Compared, Positioned, Served])
@pytest.mark.parametrize("loader", [EVALUATION, UNLIKE, [EVALUATION[0]]], ids=["mixed", "sorted", "one batch"])
def test_scores_are_those_of_the_loaders_batches(tuner: Make, kind: type[FakeModel], loader: Any) -> None:
    """What is told of float32 and INT8 is what counting by hand gives, and the log says why rows stay."""
    model = kind(PLAIN.weights)
    found, result, log = tuned(tuner, model, loader)
    assert result.best is not None
    assert result.best.accuracy == by_hand(found, loader)
    assert result.baseline == by_hand(model, loader)
    assert "evaluation rows stay in the loader's batches: a row's outputs depend on the rows beside it" in log


def test_independent_rows_cost_one_batch(tuner: Make, passes: list[int]) -> None:
    """Rows of many batches in one, of the loader's size; then misses go first as ever."""
    _, _, log = tuned(tuner, PLAIN)
    assert "rows stay" not in log
    assert sorted(passes) == [8] * 4 + [32]  # the float model twice, the saved one and what is read back, and this


class AnyWidth(FakeModel):
    """Looks at the first columns alone, so that rows of any length run."""

    def __call__(self, x: Any) -> Any:
        return super().__call__(x[:, :16])


def test_rows_of_the_shape_that_most_batches_have_are_put_together(
    tuner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long batch of its own length tells less than short ones of one length."""

    def run(model: Any, batch: Any) -> Any:
        return model(batch[0])

    made: list[set[float]] = []
    plain = FakeAdapter.regroup

    def regroup(self: FakeAdapter, batches: Any, groups: Any) -> Any:
        made.append({float(batch) for group in groups for batch, _ in group})
        return plain(self, batches, groups)

    monkeypatch.setattr("ilit.testing.fake.adapter._run", run)
    monkeypatch.setattr(FakeAdapter, "regroup", regroup)
    longer = [(np.pad(x, ((0, 0), (0, 3))), y) for x, y in EVALUATION[:1]]
    others = [(x[at : at + 4], y[at : at + 4]) for x, y in EVALUATION[1:2] for at in (0, 4, 8)]
    tuned(tuner, AnyWidth(PLAIN.weights), longer + others)
    assert made[1] == {1, 2, 3}  # the first are the few rows that models are compared on


def test_rows_that_do_not_run_elsewhere_stay(tuner: Make) -> None:
    """What a model raises on other rows is the reason."""
    _, result, log = tuned(tuner, OneSize(PLAIN.weights), [EVALUATION[0]])
    assert "rows stay in the loader's batches: they do not run in other batches than the loader's (RuntimeError" in log
    assert result.best is not None


def test_no_row_of_such_a_model_can_be_held_out(tuner: Make) -> None:
    """One line with the reason."""
    ready = tuner(only_layer2, metric="fake_accuracy")
    ready.config = type(ready.config)(**{**vars(ready.config), "holdout": 0.25})
    with pytest.raises(
        ConfigError, match=r"^evaluation.holdout: a row's outputs depend on the rows beside it, by up "
    ) as e:
        ready.tune(Centred(PLAIN.weights), CALIBRATION, EVALUATION)
    assert str(e.value).endswith("so no rows can be held out; remove the key")
    assert len(str(e.value).splitlines()) == 1


def test_models_of_such_rows_are_compared_on_whole_batches(tuner: Make, passes: list[int]) -> None:
    """Also the one that was saved; before that nobody knew."""
    tuned(tuner, Centred(PLAIN.weights))
    assert passes == [8, 8, 32, 32, 32]


@pytest.mark.parametrize("loader", [UNLIKE, [EVALUATION[0]]], ids=["batches", "one batch"])
@pytest.mark.parametrize(("kind", "stays"), [(Centred, True), (FakeModel, False)])
def test_outputs_that_take_too_much_room_are_compared_by_predictions(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, kind: type[FakeModel], loader: Any, stays: bool
) -> None:
    """Nothing is recorded then, and the answers of the metric decide."""
    monkeypatch.setattr("ilit.evaluation.row_dependence.MOST_BYTES", 10)
    found, result, log = tuned(tuner, kind(PLAIN.weights), loader)
    assert ("evaluation rows stay in the loader's batches" in log) is stays
    assert result.best is not None
    assert result.best.accuracy == by_hand(found, loader)


class OfNoRows(FakeAccuracy):
    """A metric of what a model says of its rows in another form."""

    def update(self, outputs: Any, labels: Any) -> None:
        super().update(outputs["logits"].T, labels)


@pytest.mark.parametrize(("kind", "stays"), [(Centred, True), (FakeModel, False)])
def test_outputs_without_an_entry_a_row_are_compared_by_predictions(
    tuner: Make, plugin: Any, monkeypatch: pytest.MonkeyPatch, kind: type[FakeModel], stays: bool
) -> None:
    """As where the rows are the second axis."""

    def turned(self: FakeAdapter, model: Any, batch: Any) -> Any:
        return {"logits": model(batch[0]).T}

    def evaluate(self: FakeAdapter, model: Any, loader: Any, metric: Any, on_batch: Any = None) -> float:
        for batch in loader:
            metric.update(turned(self, model, batch), batch[1])
            if on_batch is not None:
                on_batch(len(batch[1]))
        return float(metric.result())

    OfNoRows.name = "of_no_rows"
    monkeypatch.setattr(FakeAdapter, "outputs", turned)
    monkeypatch.setattr(FakeAdapter, "own_outputs", turned)
    monkeypatch.setattr(FakeAdapter, "evaluate", evaluate)
    plugins = {"more": plugin(ilit_metrics=lambda: [OfNoRows])}
    _, _, log = tuned(tuner, kind(PLAIN.weights), UNLIKE, metric="of_no_rows", plugins=plugins)
    assert ("evaluation rows stay in the loader's batches" in log) is stays


def test_a_recorder_is_the_metric_in_all_else() -> None:
    """It records some rows of each batch, as copies, and hands everything on."""
    metric = FakeAccuracy()
    recorder = Recorder(metric)
    logits = np.eye(4, dtype=np.float32)[np.arange(20) % 4]
    recorder.update(logits, np.arange(20) % 4)
    logits[:] = 0
    assert recorder.result() == metric.result() == 1.0
    assert (recorder.name, isinstance(recorder, PairedMetric)) == ("fake_accuracy", True)
    ((count, rows),) = recorder.answers[0].values()
    assert (count, rows.shape, rows.sum()) == (20, (RECORDED_ROWS, 4), RECORDED_ROWS)
