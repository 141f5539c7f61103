"""The rows held out: no search sees them, and the recipe that it ends with is judged on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ilit import Trial, Tuner
from ilit.errors import ConfigError, EvaluationError, IlitWarning
from ilit.recipe import FLOAT32
from ilit.run.state import open_run
from ilit.testing import FakeAdapter, fake_data, fake_model

MODEL = fake_model(sensitive=("layer2",))
CALIBRATION, EVALUATION = fake_data(MODEL, 128, seed=2), fake_data(MODEL, 320)
INPUTS, LABELS = (np.concatenate(part) for part in zip(*EVALUATION, strict=True))
Make = Callable[..., Tuner]


def first_all_then_layer2(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the recipe of the space's first choices, which misses, then for it with layer2 in float, which passes."""
    yield Trial(space.recipe({}), "all in INT8")
    yield Trial(space.recipe({"layer2": FLOAT32}), "layer2 in float")


def holding(tuner: Make, search: Any = first_all_then_layer2, share: float = 0.25, **more: Any) -> Tuner:
    """Return a tuner that holds rows out from the search."""
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
            "score_only",
            0.2,
            "metric score_only gives one number for all rows, not a prediction for each, so no rows can be",
        ),
        ("questions", 0.2, "metric questions scores something else than rows, so no rows can be held out"),
        ("halves", 0.2, "metric halves cannot be compared row by row; log.txt says why, so no rows"),
        ("fake_accuracy", 0.001, "0.001 of 320 rows holds out 0 and leaves 320 to the search; choose another share"),
        ("fake_accuracy", 0.9999, "0.9999 of 320 rows holds out 320 and leaves 0 to the search; choose another share"),
    ],
    ids=["a score alone", "no rows", "other units", "too few", "too many"],
)
def test_a_holdout_that_is_not_possible_is_refused(
    tuner: Make, unusual_metrics: dict[str, Any], metric: str, share: float, text: str
) -> None:
    """The key, why, and the cure, in one line."""
    tuned = holding(tuner, share=share, plugins=unusual_metrics, metric=metric)
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
def test_rows_that_are_not_cached_cannot_be_held_out(tuner: Make) -> None:
    """Too large data are refused, since rows would have to be taken out of batches each time."""
    with pytest.raises(
        ConfigError, match=r"^evaluation.holdout: the evaluation rows cannot be told apart, or take too"
    ):
        holding(tuner).tune(MODEL, CALIBRATION, EVALUATION)
