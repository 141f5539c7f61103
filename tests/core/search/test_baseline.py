"""The float model's one pass over the evaluation data: what is cached of it, and how trials use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ilit import Trial, Tuner
from ilit.evidence.compare import Claim, evidence
from ilit.evidence.units import PairedUnits
from ilit.recipe import FLOAT32
from ilit.report.verdict import sentence
from ilit.run.predictions import read_predictions
from ilit.run.state import open_run
from ilit.testing import FakeAccuracy, fake_data, fake_model

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


# --- Rows that are cached --------------------------------------------------------------------------------------------


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


@pytest.mark.usefixtures("few_bytes")
def test_rows_that_are_not_cached_are_asked_for_again(tuner: Make, seen: list[list[Any]]) -> None:
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


def test_a_shuffling_loader_that_is_cached_is_shuffled_once(tuner: Make) -> None:
    """All trials run on the rows of the one pass, so they are paired whatever the loader does next."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, Counted(shuffled=True))
    assert tuned.result is not None
    assert tuned.result.evidence is not None


@pytest.mark.parametrize(
    ("metric", "tuning", "why"),
    [
        ("score_only", {}, "since it gives one number for all rows, not a prediction for each"),
        ("halves", {}, "since it gives 160 predictions for 320 rows"),
        (
            "fake_accuracy",
            {"accuracy_criterion": {"absolute": 0.5, "higher_is_better": False}},
            "since its direction is not the one that tuning.accuracy_criterion.higher_is_better says",
        ),
    ],
    ids=["a score alone", "other units", "other direction"],
)
def test_what_cannot_be_paired_is_judged_by_its_score(
    tuner: Make, unusual_metrics: dict[str, Any], metric: str, tuning: dict[str, Any], why: str
) -> None:
    """Evaluations run to their end, nothing is claimed, and the log says why."""
    tuned = tuner(first_all_then_layer2, plugins=unusual_metrics, metric=metric, stop="budget", **tuning)
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    result = tuned.result
    assert result is not None
    assert {trial.status for trial in result.trials} <= {"missed", "passed"}
    assert [trial.rows for trial in result.trials] == [320, 320]
    assert result.evidence is None
    assert not (result.folder / "predictions").exists()
    assert why in (result.folder / "log.txt").read_text()


def test_units_that_are_no_rows_are_compared_in_the_datas_order(tuner: Make, unusual_metrics: dict[str, Any]) -> None:
    """They are not reordered, but pruned and compared like any."""
    tuned = tuner(first_all_then_layer2, plugins=unusual_metrics, metric="questions")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["pruned", "passed"]
    assert np.array_equal(read_predictions(tuned.result.folder, 0), MODEL(INPUTS).argmax(axis=1))
    assert tuned.result.evidence is not None
