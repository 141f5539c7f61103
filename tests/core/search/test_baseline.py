"""The one pass over the evaluation data: what is kept of it, how trials use it, and which rows no search sees."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import pytest

from ilit import Trial, Tuner
from ilit.errors import ConfigError, EvaluationError, IlitWarning, RunError
from ilit.evidence.compare import Claim, evidence
from ilit.evidence.units import PairedUnits
from ilit.recipe import FLOAT32
from ilit.report.verdict import sentence
from ilit.run.folder import Clock
from ilit.run.predictions import read_predictions, write_predictions
from ilit.run.state import open_run
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model

MODEL = fake_model(sensitive=("layer2",))
CALIBRATION, EVALUATION = fake_data(MODEL, 128, seed=2), fake_data(MODEL, 320)
INPUTS, LABELS = (np.concatenate(part) for part in zip(*EVALUATION, strict=True))
Make = Callable[..., Tuner]


def first_all_then_layer2(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the recipe of the space's first choices, which misses, then for it with layer2 in float, which passes."""
    yield Trial(space.recipe({}), "all in INT8")
    yield Trial(space.recipe({"layer2": FLOAT32}), "layer2 in float")


def only_layer2(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the one recipe that passes."""
    yield Trial(space.recipe({"layer2": FLOAT32}))


class Counted:
    """A loader that counts how often it was gone through to its end, in another order each time where asked to."""

    def __init__(self, shuffled: bool = False) -> None:
        self.ends, self.begun, self.shuffled = 0, 0, shuffled

    def __iter__(self) -> Iterator[Any]:
        order = np.random.default_rng(self.begun if self.shuffled else 0).permutation(len(LABELS))
        self.begun += 1
        for at in range(0, len(LABELS), 32):
            rows = order[at : at + 32]
            yield INPUTS[rows], LABELS[rows]
        self.ends += 1


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Return the batches of every evaluation that will be run, one list each."""
    evaluations: list[list[Any]] = []
    original = FakeAdapter.evaluate

    def evaluate(self: FakeAdapter, model: Any, loader: Any, metric: Any, on_batch: Any = None) -> float:
        batches: list[Any] = []
        evaluations.append(batches)

        def noted() -> Iterator[Any]:
            for batch in loader:
                batches.append(batch)
                yield batch

        return original(self, model, noted(), metric, on_batch)

    monkeypatch.setattr(FakeAdapter, "evaluate", evaluate)
    return evaluations


# --- Rows that are kept ----------------------------------------------------------------------------------------------


def test_a_loader_is_gone_through_once(tuner: Make) -> None:
    """Two trials, the check of the metric and the float model share one pass."""
    loader = Counted()
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    assert tuned.tune(MODEL, CALIBRATION, loader) is not None
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["pruned", "passed"]
    assert loader.ends == 1


def test_trials_begin_with_the_rows_that_float32_misses(tuner: Make, seen: list[list[Any]]) -> None:
    """Then come those it is hardly sure of, in batches of the loader's size; a miss ends far before the last row."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    float32, _, pruned, passed = seen
    order = np.concatenate([batch[0] for batch in passed])
    logits = np.sort(MODEL(order), axis=1)
    wrong = MODEL(order).argmax(axis=1) != np.concatenate([batch[1] for batch in passed])
    misses = int(wrong.sum())
    assert [len(batch[1]) for batch in float32] == [len(batch[1]) for batch in passed] == [32] * 10
    assert wrong[:misses].all()
    margins = (logits[:, -1] - logits[:, -2])[misses:]
    assert (np.diff(margins) >= 0).all()
    assert len(pruned) <= 4
    assert tuned.result is not None
    assert tuned.result.trials[0].rows == 32 * len(pruned)


def test_a_recipe_that_depends_on_its_batch_gets_the_loaders_own(tuner: Make, seen: list[list[Any]]) -> None:
    """A dynamic op's range is that of the whole batch, so its batches stay as the user's model will meet them."""

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        dynamic = next(config for config in space.ops["layer0"].candidates if config.approach == "dynamic")
        yield Trial(space.recipe({"layer0": dynamic, "layer2": FLOAT32}))

    tuner(search, metric="fake_accuracy").tune(MODEL, CALIBRATION, EVALUATION)
    assert all(one is other for one, other in zip(seen[-1], EVALUATION, strict=True))


def test_predictions_are_in_the_loaders_order(tuner: Make) -> None:
    """Whatever order a trial ran in, its file has one prediction a row as the loader gives them, one byte each."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    model = tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    folder = tuned.result.folder
    best = read_predictions(folder, 2)
    assert best.dtype == np.uint8
    assert np.array_equal(best, model(INPUTS).argmax(axis=1))
    assert np.array_equal(read_predictions(folder, 0), MODEL(INPUTS).argmax(axis=1))
    assert np.array_equal(np.load(folder / "predictions" / "labels.npy"), LABELS)
    assert {file.name for file in (folder / "predictions").iterdir()} == {"000.npy", "002.npy", "labels.npy"}


def test_the_best_comes_with_its_evidence(tuner: Make) -> None:
    """The verdict is of the paired predictions, corrected for the recipes tried, in record, result, journal and log."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy", accuracy_criterion={"relative": 0.05})
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    result, criterion = tuned.result, tuned.config.criterion
    assert result is not None
    found = [read_predictions(result.folder, number) for number in (0, 2)]
    proof = evidence(PairedUnits(*found, LABELS, FakeAccuracy(), result.baseline), Claim(criterion, comparisons=2))
    assert result.evidence == proof
    assert result.best is not None
    assert result.best.evidence == proof
    assert result.best.rows == len(LABELS)
    assert result.trials[0].evidence is None
    assert open_run(result.folder).trials == result.trials
    assert sentence(proof) in (result.folder / "log.txt").read_text()


# --- Rows that are not -----------------------------------------------------------------------------------------------


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows take more memory than may be kept, and their labels not."""
    monkeypatch.setattr("ilit.evaluation.rows.MOST_BYTES", 5000)


@pytest.mark.usefixtures("few_bytes")
def test_rows_that_are_not_kept_are_asked_for_again(tuner: Make, seen: list[list[Any]]) -> None:
    """Each trial goes through the loader in its own order, and still ends when its outcome is certain."""
    loader = Counted()
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, loader)
    result = tuned.result
    assert result is not None
    assert [trial.status for trial in result.trials] == ["pruned", "passed"]
    assert loader.ends == 2
    assert result.evidence is not None
    assert np.array_equal(seen[-1][0][0], seen[0][0][0])
    assert "evaluation rows stay in the loader's order: they take more" in (result.folder / "log.txt").read_text()


@pytest.mark.usefixtures("few_bytes")
def test_a_shuffling_loader_is_not_taken_for_the_same_rows(tuner: Make) -> None:
    """Labels to come are unknown and rows cannot be paired: no pruning, no verdict, one line why."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, Counted(shuffled=True))
    result = tuned.result
    assert result is not None
    assert [trial.status for trial in result.trials] == ["missed", "passed"]
    assert result.evidence is None
    assert (
        "eval_dataloader gives other rows than in the float32 model's pass" in (result.folder / "log.txt").read_text()
    )


def test_a_shuffling_loader_that_is_kept_is_shuffled_once(tuner: Make) -> None:
    """All trials run on the rows of the one pass, so they are paired whatever the loader does next."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, Counted(shuffled=True))
    assert tuned.result is not None
    assert tuned.result.evidence is not None


class ScoreOnly:
    """A metric that is no ``PairedMetric``."""

    name: ClassVar[str] = "score_only"
    higher_is_better: ClassVar[bool] = True

    def __init__(self) -> None:
        self._inner = FakeAccuracy()

    def update(self, outputs: Any, labels: Any) -> None:
        self._inner.update(outputs, labels)

    def result(self) -> float:
        return self._inner.result()


class Halves(FakeAccuracy):
    """A metric that claims to have a unit a row, and has one for two."""

    name: ClassVar[str] = "halves"

    def predictions(self) -> Any:
        return super().predictions()[::2]

    def labels(self) -> Any:
        return super().labels()[::2]


class Questions(FakeAccuracy):
    """A metric whose units are not rows."""

    name: ClassVar[str] = "questions"
    by_row = False


def offering(plugin: Callable[..., Any], *metrics: type[Any]) -> dict[str, Any]:
    """Return plugins with these metrics."""
    return {"more": plugin(ilit_metrics=lambda: list(metrics))}


@pytest.mark.parametrize(
    ("metric", "tuning", "why"),
    [
        (ScoreOnly, {}, "since it gives one number for all rows, not a prediction for each"),
        (Halves, {}, "since it gives 160 predictions for 320 rows"),
        (
            FakeAccuracy,
            {"accuracy_criterion": {"absolute": 0.5, "higher_is_better": False}},
            "since its direction is not the one that tuning.accuracy_criterion.higher_is_better says",
        ),
    ],
    ids=["a score alone", "other units", "other direction"],
)
def test_what_cannot_be_paired_is_judged_by_its_score(
    tuner: Make, plugin: Callable[..., Any], metric: type[Any], tuning: dict[str, Any], why: str
) -> None:
    """Evaluations run to their end, nothing is claimed, and the log says why."""
    plugins = None if metric is FakeAccuracy else offering(plugin, metric)
    tuned = tuner(first_all_then_layer2, plugins=plugins, metric=metric.name, stop="budget", **tuning)
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    result = tuned.result
    assert result is not None
    assert {trial.status for trial in result.trials} <= {"missed", "passed"}
    assert [trial.rows for trial in result.trials] == [320, 320]
    assert result.evidence is None
    assert not (result.folder / "predictions").exists()
    assert why in (result.folder / "log.txt").read_text()


def test_units_that_are_no_rows_are_compared_in_the_datas_order(tuner: Make, plugin: Callable[..., Any]) -> None:
    """They are not reordered, but pruned and compared like any."""
    tuned = tuner(first_all_then_layer2, plugins=offering(plugin, Questions), metric="questions")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["pruned", "passed"]
    assert np.array_equal(read_predictions(tuned.result.folder, 0), MODEL(INPUTS).argmax(axis=1))
    assert tuned.result.evidence is not None


def test_a_metric_without_a_drop_costs_no_trial(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where statistics have nothing to say the score still counts."""

    def undefined(*arguments: Any, **named: Any) -> Any:
        raise EvaluationError("metric mcc: no drop is defined on these 320 units")

    monkeypatch.setattr("ilit.search.trial.evidence", undefined)
    tuned = tuner(only_layer2, metric="fake_accuracy")
    assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None
    assert tuned.result is not None
    assert tuned.result.evidence is None
    assert "nothing can be said about the true drop: metric mcc" in caplog.text


def test_a_full_disk_ends_the_run_with_what_it_has(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions that cannot be written are the disk's failure, not the recipe's."""

    def full(folder: Any, name: Any, values: Any) -> None:
        if name == 2:
            raise RunError("002.npy: cannot be written (No space left on device); free some space")
        write_predictions(folder, name, values)

    monkeypatch.setattr("ilit.search.trial.write_predictions", full)
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    with pytest.raises(RunError, match="No space left on device"):
        tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["pruned"]


# --- Rows held out ---------------------------------------------------------------------------------------------------


def holding(tuner: Make, search: Any = first_all_then_layer2, share: float = 0.25, **more: Any) -> Tuner:
    """Return a tuner that keeps rows from the search."""
    tuned = tuner(search, **{"metric": "fake_accuracy", **more})
    tuned.config = type(tuned.config)(**{**vars(tuned.config), "holdout": share})
    return tuned


def test_held_out_rows_are_seen_once_at_the_end(tuner: Make, seen: list[list[Any]]) -> None:
    """Baseline, target and trials are of the other rows; the best is evaluated on these, without correction."""
    tuned = holding(tuner)
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    result = tuned.result
    assert result is not None
    assert result.evidence is not None
    _, _, pruned, passed, held = [np.concatenate([batch[0] for batch in batches]) for batches in seen]
    assert (len(passed), len(held)) == (240, 80)
    searched = {row.tobytes() for row in passed}
    assert {row.tobytes() for row in pruned} < searched
    assert searched.isdisjoint(row.tobytes() for row in held)
    assert searched | {row.tobytes() for row in held} == {row.tobytes() for row in INPUTS}
    units = np.load(result.folder / "predictions" / "units.npy")
    right = MODEL(INPUTS).argmax(axis=1) == LABELS
    assert {INPUTS[unit].tobytes() for unit in units} == searched
    assert result.baseline == right[units].mean()
    assert result.target == pytest.approx(0.99 * result.baseline)
    assert (result.evidence.holdout, result.evidence.comparisons, result.evidence.units) == (True, 1, 80)
    assert result.best is not None
    assert result.best.evidence == result.evidence
    assert open_run(result.folder).best == result.best
    assert result.evaluations == 3


def test_held_out_rows_leave_the_loaders_batches_together(tuner: Make, seen: list[list[Any]]) -> None:
    """A recipe that depends on its batch gets each of the loader's batches without the rows held out."""

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        dynamic = next(config for config in space.ops["layer0"].candidates if config.approach == "dynamic")
        yield Trial(space.recipe({"layer0": dynamic, "layer2": FLOAT32}))

    tuned = holding(tuner, search)
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    units = np.load(tuned.result.folder / "predictions" / "units.npy")
    batches = seen[2]
    assert len(batches) == len(EVALUATION)
    assert np.array_equal(np.concatenate([batch[0] for batch in batches]), INPUTS[units])
    assert all(len(ours[0]) <= len(theirs[0]) for ours, theirs in zip(batches, EVALUATION, strict=True))


def test_a_holdout_that_fails_leaves_the_searchs_verdict(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing found out is lost when the last evaluation raises."""
    original = FakeAdapter.evaluate

    def evaluate(self: FakeAdapter, model: Any, loader: Any, metric: Any, on_batch: Any = None) -> float:
        score = original(self, model, loader, metric, on_batch)
        if len(metric.labels()) == 80:
            raise EvaluationError("metric f1: not defined on these rows")
        return score

    monkeypatch.setattr(FakeAdapter, "evaluate", evaluate)
    tuned = holding(tuner)
    assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None
    assert tuned.result is not None
    assert tuned.result.evidence is not None
    assert not tuned.result.evidence.holdout
    assert "trial 2 has no verdict on the holdout: metric f1: not defined on these rows" in caplog.text


def test_a_miss_is_judged_on_the_holdout_too(tuner: Make) -> None:
    """The closest, once completed, is what the run ends with."""

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield Trial(space.recipe({}))

    tuned = holding(tuner, search)
    with pytest.warns(IlitWarning, match="no recipe met"):
        tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert tuned.result.evidence is not None
    assert (tuned.result.evidence.holdout, tuned.result.trials[0].status) == (True, "missed")


@pytest.mark.parametrize(
    ("metric", "share", "text"),
    [
        (
            ScoreOnly,
            0.2,
            "metric score_only gives one number for all rows, not a prediction for each, so no rows can be",
        ),
        (Questions, 0.2, "metric questions scores something else than rows, so no rows can be kept from the search"),
        (Halves, 0.2, "metric halves cannot be compared row by row; log.txt says why, so no rows"),
        (FakeAccuracy, 0.001, "0.001 of 320 rows holds out 0 and leaves 320 to the search; choose another share"),
        (FakeAccuracy, 0.9999, "0.9999 of 320 rows holds out 320 and leaves 0 to the search; choose another share"),
    ],
    ids=["a score alone", "no rows", "other units", "too few", "too many"],
)
def test_a_holdout_that_cannot_be_kept_is_refused(
    tuner: Make, plugin: Callable[..., Any], metric: type[Any], share: float, text: str
) -> None:
    """The key, why, and the cure, in one line."""
    plugins = None if metric is FakeAccuracy else offering(plugin, metric)
    tuned = holding(tuner, share=share, plugins=plugins, metric=metric.name)
    with pytest.raises(ConfigError, match=f"^evaluation.holdout: {text}") as caught:
        tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert len(str(caught.value).splitlines()) == 1


def test_an_eval_func_has_no_holdout(tuner: Make) -> None:
    """Its rows are its own."""
    with pytest.raises(ConfigError, match=r"^evaluation.holdout: an eval_func shows no rows, .*; remove the key"):
        holding(tuner).tune(MODEL, CALIBRATION, eval_func=lambda model: 0.5)


def test_an_adapter_without_rows_has_no_holdout(tuner: Make, lacking: Callable[..., Any]) -> None:
    """What cannot be taken apart cannot be split."""
    lacking("regroup", "row_shapes")
    with pytest.raises(ConfigError, match=r"^evaluation.holdout: adapter fake cannot tell rows apart"):
        holding(tuner).tune(MODEL, CALIBRATION, EVALUATION)


@pytest.mark.usefixtures("few_bytes")
def test_rows_that_are_not_kept_cannot_be_held_out(tuner: Make) -> None:
    """Too large data are refused, since rows would have to be taken out of batches each time."""
    with pytest.raises(
        ConfigError, match=r"^evaluation.holdout: the evaluation rows cannot be told apart, or take too"
    ):
        holding(tuner).tune(MODEL, CALIBRATION, EVALUATION)


# --- Time ------------------------------------------------------------------------------------------------------------


def test_the_time_counts_from_the_start(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration and baseline belong to the timeout."""
    now, original = [0.0], FakeAdapter.calibrate

    def calibrate(self: FakeAdapter, *arguments: Any) -> Any:
        now[0] += 100
        return original(self, *arguments)

    monkeypatch.setattr(FakeAdapter, "calibrate", calibrate)
    clock = Clock(now=lambda: datetime(2026, 11, 23), seconds=lambda: now[0])
    tuned = tuner(only_layer2, metric="fake_accuracy", clock=clock, timeout=90)
    with pytest.warns(IlitWarning, match=r"tuning.timeout 90 s is reached after 0 trials\); none could be evaluated"):
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is None


def test_a_trial_cut_short_is_no_error(tuner: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Time runs out in the second trial: it failed, and the best so far is returned."""
    now = [0.0]

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield Trial(space.recipe({"layer2": FLOAT32}))
        now[0] = 95.0
        yield Trial(space.recipe({"layer1": FLOAT32, "layer2": FLOAT32}))

    def seconds() -> float:
        now[0] += 1e-3 if now[0] < 95 else 1.0
        return now[0]

    clock = Clock(now=lambda: datetime(2026, 11, 23), seconds=seconds)
    tuned = tuner(search, metric="fake_accuracy", clock=clock, timeout=100)
    with caplog.at_level(logging.INFO, logger="ilit"):
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None
    result = tuned.result
    assert result is not None
    assert [trial.status for trial in result.trials] == ["passed", "failed"]
    assert result.trials[1].reason.startswith("tuning.timeout is reached after ")
    assert result.reason == "tuning.timeout 100 s is reached after 2 trials"
    assert result.seconds < 105
