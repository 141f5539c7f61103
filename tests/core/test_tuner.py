"""``Tuner.tune`` from end to end on the fake framework: nothing is lost, nothing is passed over in silence."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import ilit
from ilit import Trial, Tuner
from ilit.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    EvaluationError,
    IlitError,
    IlitWarning,
    MissedError,
    ModelError,
    PluginError,
    RunError,
    UnsupportedError,
)
from ilit.evaluation.outputs import identical
from ilit.recipe import FLOAT32
from ilit.run.folder import Clock
from ilit.run.journal import JournalWriter
from ilit.run.records import Started
from ilit.run.state import open_run
from ilit.testing import FakeAccuracy, FakeAdapter, FakeModel, fake_data, fake_model

MODEL = fake_model(sensitive=("layer2",))
CALIBRATION, EVALUATION = fake_data(MODEL, 128, seed=2), fake_data(MODEL)
Make = Callable[..., Tuner]
Lacking = Callable[..., type[FakeAdapter]]


def first_all_then_layer2(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the recipe of the space's first choices, which misses, then for it with layer2 in float, which passes."""
    yield Trial(space.recipe({}), "all in INT8")
    yield Trial(space.recipe({"layer2": FLOAT32}), "layer2 in float")


def only_all(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the one recipe that misses."""
    yield Trial(space.recipe({}))


def only_layer2(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the one recipe that passes."""
    yield Trial(space.recipe({"layer2": FLOAT32}))


def accuracy(model: FakeModel) -> float:
    """Evaluate as an ``eval_func`` does."""
    rows = [(model(x).argmax(axis=1) == y) for x, y in EVALUATION]
    return float(np.concatenate(rows).mean())


# --- A run that meets its criterion --------------------------------------------------------------------------------


@pytest.mark.parametrize("usage", ["metric", "eval_func"])
def test_the_best_model_is_returned(tuner: Make, usage: str) -> None:
    """Both usages give an INT8 model that meets the criterion, and a result that tells how it was found."""
    if usage == "metric":
        tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
        model = tuned.tune(MODEL, CALIBRATION, eval_dataloader=EVALUATION)
    else:
        tuned = tuner(first_all_then_layer2)
        model = tuned.tune(MODEL, CALIBRATION, eval_func=accuracy)
    result = tuned.result
    assert result is not None
    assert result.met
    assert result.best is result.closest is result.trials[1]
    assert [trial.status for trial in result.trials] == ["pruned" if usage == "metric" else "missed", "passed"]
    assert (result.evaluations, result.probes) == (3, 0)
    assert result.metric == ("fake_accuracy" if usage == "metric" else "eval_func")
    assert result.target == pytest.approx(0.99 * result.baseline)
    assert accuracy(model) == result.best.accuracy
    assert result.reason == "the criterion is met after 2 trials"


def test_what_is_returned_is_what_is_on_disk(tuner: Make) -> None:
    """The model comes from ``best/``, and loading that folder later gives the same."""
    tuned = tuner(only_layer2, metric="fake_accuracy")
    model = tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    best = tuned.result.folder / "best"
    assert {path.name for path in best.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "receipt.json", "recipe.json", "result.json",
    }  # fmt: skip
    assert identical(FakeAdapter().load(best)(EVALUATION[0][0]), model(EVALUATION[0][0]))


def test_the_run_folder_tells_all(tuner: Make) -> None:
    """Config, journal, calibration, log and model are there, and reading the folder gives the same records."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    result = tuned.result
    assert result is not None
    names = {path.name for path in result.folder.iterdir()}
    assert {"config.yaml", "journal.jsonl", "calibration.safetensors", "log.txt", "best"} <= names
    run = open_run(result.folder)
    assert (run.trials, run.best, run.state) == (result.trials, result.best, "finished")
    assert run.header.criterion == "1 % relative of 0.8828: at least 0.8740"
    assert set(run.header.digests) == {"config", "calibration", "model"}
    assert "asked is 1 % relative of 0.8828: at least 0.8740" in (result.folder / "log.txt").read_text()


def test_the_given_model_is_never_touched(tuner: Make) -> None:
    """Weights are as before, and an ``eval_func`` is given another object than the user's."""
    before, given = [array.tobytes() for array in MODEL.weights.values()], list[Any]()

    def eval_func(model: FakeModel) -> float:
        given.append(model)
        return accuracy(model)

    tuner(first_all_then_layer2).tune(MODEL, CALIBRATION, eval_func=eval_func)
    assert [array.tobytes() for array in MODEL.weights.values()] == before
    assert all(model is not MODEL for model in given)
    assert identical(given[0](EVALUATION[0][0]), MODEL(EVALUATION[0][0]))


def test_global_randomness_is_left_alone(tuner: Make) -> None:
    """Neither Python's nor numpy's global generator is drawn from or seeded."""
    before = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[index, union-attr]  # noqa: NPY002
    tuner(only_layer2, metric="fake_accuracy").tune(MODEL, CALIBRATION, EVALUATION)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before  # type: ignore[index, union-attr]  # noqa: NPY002


def test_what_stays_in_float_is_named_everywhere(tuner: Make) -> None:
    """In the log before the search, in result, journal, card and ``result.json``."""
    model, left = fake_model(patched=("layer1",)), {"layer1": "its forward was replaced"}
    tuned = tuner(only_all, metric="fake_accuracy", accuracy_criterion={"absolute": 0.5})
    assert tuned.tune(model, CALIBRATION, fake_data(model)) is not None
    assert tuned.result is not None
    folder, line = tuned.result.folder, "layer1 stays in float: its forward was replaced"
    log = (folder / "log.txt").read_text()
    assert log.index(line) < log.index("trial 1")
    assert tuned.result.left_in_float == open_run(folder).header.left_in_float == left
    assert line in (folder / "best" / "README.md").read_text()


@pytest.mark.parametrize("able", [True, False])
def test_ops_are_looked_for_in_all_calibration_data(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, lacking: Lacking, able: bool
) -> None:
    """Where the adapter can: it gets the loader and the sizes; else the first batch is all it sees."""
    asked: list[Any] = []

    def describe_all(self: FakeAdapter, model: Any, batches: Any, sizes: Any) -> Any:
        asked.append((len(list(batches)), sizes))
        return self.describe(model, CALIBRATION[0])

    monkeypatch.setattr(FakeAdapter, "describe_all", describe_all)
    if not able:
        lacking("describe_all")
    tuned = tuner(only_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert asked == ([(len(CALIBRATION), tuned.config.calibrations)] if able else [])


@pytest.mark.parametrize("gone", ["own_outputs", "first_difference", "check_savable", "blank"])
def test_an_adapter_may_lack_what_is_optional(tuner: Make, lacking: Lacking, gone: str) -> None:
    """The run is the same without it."""
    lacking(gone)
    assert tuner(only_layer2, metric="fake_accuracy").tune(MODEL, CALIBRATION, EVALUATION) is not None


def test_an_adapter_without_model_digests_has_none_in_the_header(tuner: Make, lacking: Lacking) -> None:
    """The other digests are there."""
    lacking("model_digest")
    tuned = tuner(only_layer2, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert set(open_run(tuned.result.folder).header.digests) == {"config", "calibration"}


def test_what_an_artefact_could_not_hold_is_refused_before_the_search(tuner: Make, lacking: Lacking) -> None:
    """By an adapter that can tell; any other is asked to save what was found."""
    wide = replace(MODEL, weights={name: array.astype(np.float64) for name, array in MODEL.weights.items()})
    refuses(
        tuner(only_layer2, metric="fake_accuracy"),
        ModelError,
        "^op 'layer0': an artefact holds",
        wide,
        CALIBRATION,
        EVALUATION,
    )
    lacking("check_savable")
    assert tuner(only_layer2, metric="fake_accuracy").tune(wide, CALIBRATION, EVALUATION) is not None


# --- A run that misses ---------------------------------------------------------------------------------------------


def test_a_miss_returns_none_and_says_all(tuner: Make) -> None:
    """One warning names the miss, the closest's score, where it is and how to get it."""
    tuned = tuner(only_all, metric="fake_accuracy")
    with pytest.warns(IlitWarning) as caught:
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is None
    result = tuned.result
    assert result is not None
    message = (
        "no recipe met fake_accuracy 1 % relative of 0.8828: at least 0.8740 (strategy scripted has no more recipes "
        f"after 1 trial); the closest, trial 1, scores 0.6914; it is saved in {result.folder}/closest: get it by "
        "ilit.load or on_miss='closest'"
    )
    few, *others = [str(warning.message) for warning in caught]
    assert few.startswith("tuning.accuracy_criterion: 1 % relative of 256 evaluation rows is 2.3 rows")
    assert others == [message]
    assert {warning.filename for warning in caught} == {__file__}
    assert (result.met, result.best) == (False, None)
    assert accuracy(FakeAdapter().load(result.folder / "closest")) == result.trials[0].accuracy
    assert not (result.folder / "best").exists()


def test_the_closest_can_be_asked_for(tuner: Make) -> None:
    """``on_miss="closest"`` warns as well, and returns the model that came nearest."""
    tuned = tuner(only_all, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match="no recipe met"):
        model = tuned.tune(MODEL, CALIBRATION, EVALUATION, on_miss="closest")
    assert tuned.result is not None
    assert tuned.result.closest is not None
    assert accuracy(model) == tuned.result.closest.accuracy


def test_a_miss_can_be_an_error(tuner: Make) -> None:
    """``on_miss="raise"`` raises the same line instead of warning; the result is there all the same."""
    tuned = tuner(only_all, metric="fake_accuracy")
    with pytest.raises(MissedError, match=r"no recipe met fake_accuracy .* scores 0.6914"):
        tuned.tune(MODEL, CALIBRATION, EVALUATION, on_miss="raise")
    assert tuned.result is not None
    assert (tuned.result.folder / "closest").is_dir()


def test_a_recipe_slower_than_float_is_never_best(tuner: Make) -> None:
    """Under ``performance`` what passes and costs more is objected to, and the warning says so."""
    slow = fake_model(int8_speed=0.5)
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    with pytest.warns(
        IlitWarning, match=r"^no recipe was accepted: .* meets .*, but performance: INT8 costs .* s, float32"
    ):
        assert tuned.tune(slow, CALIBRATION, fake_data(slow)) is None
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["passed", "passed"]
    assert tuned.result.front == ()


def test_the_same_recipe_passes_where_size_counts(tuner: Make) -> None:
    """Under ``modelsize`` the slow recipe is fine."""
    slow = fake_model(int8_speed=0.5)
    tuned = tuner(only_all, metric="fake_accuracy", objective="modelsize")
    assert tuned.tune(slow, CALIBRATION, fake_data(slow)) is not None


def test_nothing_evaluated_is_said(tuner: Make) -> None:
    """Where every trial failed there is no closest, and the warning gives the first reason."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match="none could be evaluated; the first failed with: op 'layer0': the fake"):
        assert tuned.tune(fake_model(rejects=("layer0",)), CALIBRATION, EVALUATION, on_miss="closest") is None
    assert tuned.result is not None
    assert tuned.result.closest is None
    assert [trial.status for trial in tuned.result.trials] == ["failed", "failed"]


def test_a_failed_trial_does_not_end_the_search(tuner: Make) -> None:
    """An op the engine rejects costs one trial; its traceback is in the log, its reason in the record."""

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield Trial(space.recipe({}))
        yield Trial(space.recipe({"layer0": FLOAT32}))

    model = fake_model(rejects=("layer0",))
    tuned = tuner(search, metric="fake_accuracy")
    assert tuned.tune(model, CALIBRATION, fake_data(model)) is not None
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["failed", "passed"]
    assert "Traceback" in (tuned.result.folder / "log.txt").read_text()


# --- Interrupted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [2, 3, 4], ids=["first trial", "second trial", "third trial"])
def test_ctrl_c_returns_the_best_so_far(tuner: Make, at: int) -> None:
    """Whenever Ctrl-C comes in the search, what was found is returned and the folder can be looked at."""
    calls: list[int] = []

    def eval_func(model: FakeModel) -> float:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return accuracy(model)

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield from first_all_then_layer2(space, baseline)
        yield Trial(space.recipe({"layer1": FLOAT32, "layer2": FLOAT32}))

    tuned = tuner(search, stop="budget")
    with pytest.warns(IlitWarning, match="interrupted by Ctrl-C") if at < 4 else nullcontext():
        model = tuned.tune(MODEL, CALIBRATION, eval_func=eval_func)
    result = tuned.result
    assert result is not None
    assert result.interrupted
    assert len(result.trials) == at - 2
    assert (model is not None) is (at == 4)
    run = open_run(result.folder)
    assert (run.state, run.trials) == ("interrupted", result.trials)
    assert (result.folder / "closest").exists() is (at == 3)


def test_ctrl_c_before_the_search_ends_it(tuner: Make) -> None:
    """Without a baseline there is nothing to give back: the interrupt goes on to the caller."""

    def eval_func(model: FakeModel) -> float:
        raise KeyboardInterrupt

    tuned = tuner(only_all)
    with pytest.raises(KeyboardInterrupt):
        tuned.tune(MODEL, CALIBRATION, eval_func=eval_func)
    assert tuned.result is None


def test_a_broken_strategy_loses_nothing(tuner: Make) -> None:
    """What was found before is kept and in the result; then the strategy is named."""

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield from first_all_then_layer2(space, baseline)
        raise IndexError("oops")

    tuned = tuner(search, metric="fake_accuracy", stop="budget")
    with pytest.raises(PluginError, match="strategy scripted: raised IndexError: oops"):
        tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert tuned.result.met
    assert (tuned.result.folder / "best" / "recipe.json").exists()


def test_a_bug_in_a_search_loses_nothing(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found before is saved; then the exception is raised as it was, and nobody is blamed for it."""
    bug, append = TypeError("no JSON"), JournalWriter.append

    def broken(self: JournalWriter, entry: Any) -> None:
        if isinstance(entry, Started) and entry.trial == 3:
            raise bug
        append(self, entry)

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield from first_all_then_layer2(space, baseline)
        yield Trial(space.recipe({"layer1": FLOAT32, "layer2": FLOAT32}))

    monkeypatch.setattr(JournalWriter, "append", broken)
    tuned = tuner(search, metric="fake_accuracy", stop="budget")
    with pytest.raises(TypeError) as caught:
        tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert caught.value is bug
    assert tuned.result is not None
    assert (tuned.result.met, tuned.result.reason) == (True, "TypeError: no JSON")
    assert (tuned.result.folder / "best" / "recipe.json").exists()


def raising(error: Exception) -> Callable[..., Any]:
    """Return a method that raises."""

    def method(*arguments: Any, **named: Any) -> Any:
        raise error

    return method


def reads_another(self: FakeAdapter, folder: Path, model: Any = None) -> FakeModel:
    """Read a model of zeros."""
    return self.zeroed(LOAD(self, folder, model))


LOAD, FULL = FakeAdapter.load, OSError(28, "No space left on device")
DOUBTS: dict[str, tuple[str, Any, str, set[str]]] = {
    "another model": (
        "load",
        reads_another,
        "best: the model read back gives another output than the one written; what was written is in .*best-unverified",
        {"best-unverified"},
    ),
    "cannot be read": (
        "load",
        raising(KeyError("layer9")),
        r"best: the model cannot be read back \(KeyError: 'layer9'\); what was written is in .*best-unverified",
        {"best-unverified"},
    ),
    "cannot be held": (
        "save",
        raising(ArtefactError("config.json: layer9 has no name")),
        r"best: the model cannot be saved \(config.json: layer9 has no name\); it is in memory alone",
        set(),
    ),
    "full disk": ("save", raising(FULL), r"best: the model cannot be saved \(.*No space left on device", set()),
}


@pytest.mark.parametrize(("method", "broken", "text", "names"), DOUBTS.values(), ids=DOUBTS)
def test_a_model_whose_files_are_not_proven_is_not_lost(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, method: str, broken: Any, text: str, names: set[str]
) -> None:
    """The one in memory is returned and one warning says so, as does the journal; no file is taken for it."""
    monkeypatch.setattr(FakeAdapter, method, broken)
    tuned = tuner(only_layer2, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match=text) as caught:
        model = tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert {warning.filename for warning in caught} == {__file__}
    assert tuned.result is not None
    assert tuned.result.best is not None
    assert accuracy(model) == tuned.result.best.accuracy
    assert {path.name for path in tuned.result.folder.glob("best*")} == names
    finished = open_run(tuned.result.folder).finished
    assert finished is not None
    assert finished.met
    assert "best: the model" in finished.reason
    assert "best: the model" in (tuned.result.folder / "log.txt").read_text()


def test_a_closest_that_is_not_saved_is_not_said_to_be(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The miss names the way that is left."""
    monkeypatch.setattr(FakeAdapter, "save", raising(FULL))
    with pytest.warns(IlitWarning) as caught:
        assert tuner(only_all, metric="fake_accuracy").tune(MODEL, CALIBRATION, EVALUATION, on_miss="closest")
    assert str(caught[-1].message).endswith("scores 0.6914; it is not saved: get it by on_miss='closest'")


def test_a_full_disk_at_the_very_end_costs_no_model(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run folder does not take the end of the run, that is a warning, and the model is returned."""
    monkeypatch.setattr("ilit.search.ledger.write_front", raising(FULL))
    tuned = tuner(only_layer2, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match=r"the end of the run could not be written \(OSError: .*No space left"):
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None


def test_another_member_of_the_front_costs_no_model(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be lowered a second time is said, and the best is returned."""
    lower, seen = FakeAdapter.lower, list[str]()

    def once(self: FakeAdapter, model: Any, recipe: Any, calibration: Any) -> Any:
        seen.append(recipe.digest)
        if seen.count(recipe.digest) > 1 and recipe.float_ops == ("layer2",):
            raise MemoryError("no room")
        return lower(self, model, recipe, calibration)

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield Trial(space.recipe({"layer2": FLOAT32}))
        yield Trial(space.recipe({}))

    monkeypatch.setattr(FakeAdapter, "lower", once)
    criterion = {"absolute": 0.5}
    tuned = tuner(search, metric="fake_accuracy", stop="budget", accuracy_criterion=criterion)
    with pytest.warns(IlitWarning, match=r"front/001: the model cannot be made again \(MemoryError: no room\)"):
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None
    assert tuned.result is not None
    assert [record.number for record in tuned.result.front] == [2, 1]


# --- Direction, sign and budget ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("float32", "int8", "criterion", "met"),
    [
        pytest.param(-1.0, -1.005, {"relative": 0.01}, True, id="negative, within"),
        pytest.param(-1.0, -1.02, {"relative": 0.01}, False, id="negative, beyond"),
        pytest.param(0.5, 0.504, {"relative": 0.01, "higher_is_better": False}, True, id="lower is better, within"),
        pytest.param(0.5, 0.506, {"relative": 0.01, "higher_is_better": False}, False, id="lower is better, beyond"),
        pytest.param(0.5, 0.1, {"relative": 0.01, "higher_is_better": False}, True, id="lower is better, better"),
        pytest.param(0.0, -0.01, {"absolute": 0.02}, True, id="absolute at zero"),
    ],
)
def test_the_target_follows_direction_and_sign(
    tuner: Make, float32: float, int8: float, criterion: dict[str, Any], met: bool
) -> None:
    """A loss is a loss in the metric's own direction, whatever the sign of the baseline."""
    scores = iter([float32, int8])
    tuned = tuner(only_all, accuracy_criterion=criterion)
    with nullcontext() if met else pytest.warns(IlitWarning, match="no recipe met"):
        assert (tuned.tune(MODEL, CALIBRATION, eval_func=lambda model: next(scores)) is not None) is met


class Loss(FakeAccuracy):
    """A metric of which less is better: the share of wrong rows."""

    name: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False
    share_of_right = False

    def result(self) -> float:
        return 1 - super().result()

    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return 1 - super().scores(predictions, labels, weights)

    def reachable(self, rest: Any) -> float:
        return 1 - super().reachable(rest)


def test_the_metric_says_its_direction(tuner: Make, plugin: Callable[..., Any]) -> None:
    """Without a word in the configuration the metric's own direction counts."""
    tuned = tuner(
        first_all_then_layer2, plugins={"more": plugin(ilit_metrics=lambda: [Loss])}, metric="loss",
        accuracy_criterion={"absolute": 0.01},
    )  # fmt: skip
    assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None
    assert tuned.result is not None
    assert [trial.status for trial in tuned.result.trials] == ["pruned", "passed"]


def test_a_relative_loss_of_nothing_is_refused(tuner: Make) -> None:
    """A float model that scores 0 needs an absolute criterion, and the error says so."""
    with pytest.raises(ConfigError, match=r"the float32 model scores 0.*use tuning.accuracy_criterion.absolute"):
        tuner(only_all).tune(MODEL, CALIBRATION, eval_func=lambda model: 0.0)


def test_max_trials_ends_the_search(tuner: Make) -> None:
    """The closest so far is saved."""
    tuned = tuner(first_all_then_layer2, metric="fake_accuracy", max_trials=1)
    with pytest.warns(IlitWarning, match="tuning.max_trials 1 is reached after 1 trial"):
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is None


def test_the_timeout_ends_the_search_with_the_best(tuner: Make) -> None:
    """Above 0 the search goes on to better recipes until the time is over, then returns the best."""
    now = [0.0]

    def eval_func(model: FakeModel) -> float:
        now[0] += 10
        return accuracy(model)

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        assert baseline.stop == "budget"
        yield Trial(space.recipe({"layer1": FLOAT32, "layer2": FLOAT32}))
        yield Trial(space.recipe({"layer2": FLOAT32}))
        yield Trial(space.recipe({}))

    clock = Clock(now=lambda: datetime(2026, 11, 23), seconds=lambda: now[0])
    tuned = tuner(search, clock=clock, timeout=35)
    assert tuned.tune(MODEL, CALIBRATION, eval_func=eval_func) is not None
    assert tuned.result is not None
    assert tuned.result.reason == "tuning.timeout 35 s leaves too little time for another eval_func after 2 trials"
    assert tuned.result.best is tuned.result.trials[1]
    assert tuned.result.seconds == 30
    assert tuned.result.folder.name.startswith("2026-11-23_00-00-00")


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


# --- What is refused or warned of ----------------------------------------------------------------------------------


def refuses(tuned: Tuner, error: type[IlitError], text: str, *arguments: Any, **named: Any) -> None:
    """Run ``tune`` and check its error: class, start of the text, one line."""
    with pytest.raises(error, match=text) as caught:
        tuned.tune(*arguments, **named)
    assert len(str(caught.value).splitlines()) == 1
    assert tuned.result is None


@pytest.mark.parametrize(
    ("tuning", "named", "text"),
    [
        pytest.param({}, {}, "^tune: neither of eval_dataloader and eval_func given; give eval_dataloader", id="none"),
        pytest.param({}, {"eval_dataloader": EVALUATION, "eval_func": accuracy}, "^tune: both of eval_data", id="both"),
        pytest.param({}, {"eval_func": 0.9}, "^tune: eval_func is a float; give a function", id="a number"),
        pytest.param(
            {}, {"eval_dataloader": EVALUATION},
            r"^tuning.metric: none is named, and there is no default; name one \(installed: fake_accuracy\)",
            id="no metric",
        ),
        pytest.param(
            {"metric": "fake_acuracy"}, {"eval_dataloader": EVALUATION}, "did you mean 'fake_accuracy'", id="misspelt"
        ),
        pytest.param(
            {"metric": {"fake_accuracy": 1}}, {"eval_dataloader": EVALUATION}, "metric 'fake_accuracy'", id="options"
        ),
        pytest.param({}, {"eval_func": accuracy, "on_miss": "no"}, "^tune: on_miss is 'no'; give 'none'", id="miss"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(
    tuner: Make, tuning: dict[str, Any], named: dict[str, Any], text: str
) -> None:
    """Exactly one way to judge, a metric that was chosen, an answer to a miss that exists."""
    refuses(tuner(only_all, **tuning), ConfigError, text, MODEL, CALIBRATION, **named)


@pytest.mark.parametrize("which", ["q_dataloader", "eval_dataloader"])
@pytest.mark.parametrize(
    ("loader", "text"),
    [
        (lambda: (batch for batch in CALIBRATION), "can be iterated only once"),
        (list, "yields no batch"),
        (lambda: [CALIBRATION[0][0]], "not .input, label. pairs"),
    ],
    ids=["one-shot", "empty", "no pairs"],
)
def test_bad_loaders_are_refused(tuner: Make, which: str, loader: Callable[[], Any], text: str) -> None:
    """Both loaders are looked at before any work, and the one at fault is named."""
    loaders = {"q_dataloader": CALIBRATION, "eval_dataloader": EVALUATION, which: loader()}
    refuses(tuner(only_all, metric="fake_accuracy"), DataError, f"^{which}: .*{text}", MODEL, **loaders)


def test_a_run_folder_that_cannot_be_made_is_refused_first(tuner: Make, tmp_path: Path) -> None:
    """Before the model is looked at, let alone run."""
    (tmp_path / "file").write_text("")
    tuned = tuner(only_all, run={"folder": str(tmp_path / "file" / "runs")})
    refuses(tuned, RunError, "^run.folder .*file/runs: cannot be written", object(), CALIBRATION, eval_func=accuracy)


def test_batches_of_the_wrong_keys_are_refused(tuner: Make) -> None:
    """What the model does not take is the adapter's to say."""
    text = "the fake model takes 'x', the batch has ids; rename its keys"
    refuses(tuner(only_all), DataError, text, MODEL, [({"ids": 1}, 0)], eval_func=accuracy)


def test_a_model_of_no_framework_is_refused(tuner: Make) -> None:
    """Where no plugin takes the model, the installed adapters are named."""
    text = r"^framework.name: no plugin knows what to do with a dict; .*\(installed: fake\)"
    refuses(tuner(only_all), ConfigError, text, {}, CALIBRATION, eval_func=accuracy)


@pytest.mark.parametrize("value", [float("nan"), "0.9", None, True], ids=repr)
def test_a_float_score_that_is_no_number_is_refused(tuner: Make, value: Any) -> None:
    """Before the search, a score that cannot be compared ends the run, and says what was returned."""
    refuses(tuner(only_all), EvaluationError, "^eval_func: gave ", MODEL, CALIBRATION, eval_func=lambda model: value)


def test_an_eval_func_that_raises_is_one_line(tuner: Make) -> None:
    """On the float model it ends the run; where the folder is, the log has the traceback."""

    def eval_func(model: FakeModel) -> float:
        raise ValueError("shapes\ndo not match")

    tuned = tuner(only_all)
    refuses(
        tuned, EvaluationError, "^eval_func: raised ValueError: shapes; it", MODEL, CALIBRATION, eval_func=eval_func
    )
    (folder,) = tuned.config.run_folder.iterdir()
    assert "do not match" in (folder / "log.txt").read_text()


def test_shared_rows_are_warned_of(tuner: Make) -> None:
    """Calibration rows that are also evaluated on are counted."""
    with pytest.warns(IlitWarning, match="q_dataloader: 64 of 128 calibration rows are also evaluation rows") as caught:
        tuner(only_layer2, metric="fake_accuracy").tune(MODEL, CALIBRATION[:2] + EVALUATION[:2], EVALUATION)
    assert caught[0].filename == __file__


def test_an_unused_metric_is_warned_of(tuner: Make) -> None:
    """With an ``eval_func`` a configured metric judges nothing."""
    with pytest.warns(IlitWarning, match="metric 'fake_accuracy' is not used, since an eval_func was given") as caught:
        tuner(only_layer2, metric="fake_accuracy").tune(MODEL, CALIBRATION, eval_func=accuracy)
    assert caught[0].filename == __file__


def test_an_eval_func_that_evaluates_something_else_is_warned_of(tuner: Make) -> None:
    """The float model's score to the last digit for whatever model is said once."""
    with pytest.warns(
        IlitWarning, match=r"eval_func: gives 0.5 for the float32 model, .*trial 1.*model of zeros"
    ) as caught:
        tuner(first_all_then_layer2, stop="budget").tune(MODEL, CALIBRATION, eval_func=lambda model: 0.5)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_check_that_fails_at_the_end_costs_no_model(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the function is deaf stays unknown then."""
    monkeypatch.setattr(FakeAdapter, "zeroed", raising(MemoryError("no room")))
    assert tuner(only_layer2).tune(MODEL, CALIBRATION, eval_func=lambda model: 0.5) is not None


@pytest.mark.parametrize("raises", [False, True], ids=["scores", "raises"])
def test_a_good_recipe_may_score_the_same(tuner: Make, raises: bool) -> None:
    """An honest ``eval_func`` is not suspected for one equal score, be it that it raises on a model of zeros."""

    def eval_func(model: FakeModel) -> float:
        if raises and not any(weight.any() for weight in model.weights.values()):
            raise ZeroDivisionError
        return accuracy(model)

    tuned = tuner(only_layer2)
    tuned.tune(MODEL, CALIBRATION, eval_func=eval_func)
    assert tuned.result is not None
    assert tuned.result.trials[0].accuracy == tuned.result.baseline


def test_threads_are_set_and_put_back(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """``run.threads`` holds during the run only."""
    adapters: list[FakeAdapter] = []
    original = FakeAdapter.__init__

    def remember(self: FakeAdapter) -> None:
        original(self)
        adapters.append(self)

    monkeypatch.setattr(FakeAdapter, "__init__", remember)
    tuned = tuner(only_layer2, metric="fake_accuracy", run={"threads": 3})
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert tuned.result is not None
    assert tuned.result.cpu.threads == 3
    assert adapters[0].cpu().threads == 1


def test_an_adapter_that_cannot_set_threads_says_so(tuner: Make, lacking: Lacking) -> None:
    """The key is refused, never ignored."""
    lacking("set_threads")
    tuned = tuner(only_layer2, metric="fake_accuracy", run={"threads": 3})
    text = "^run.threads: adapter 'fake' cannot set threads; remove the key"
    refuses(tuned, UnsupportedError, text, MODEL, CALIBRATION, EVALUATION)


# --- Hooks ---------------------------------------------------------------------------------------------------------


def test_events_come_in_order_with_what_is_known(tuner: Make, plugin: Callable[..., Any]) -> None:
    """Started with the baseline, each trial after it is in the journal, finished after the artefact is written."""
    heard: list[Any] = []

    def ilit_run_started(run: ilit.Run) -> None:
        heard.append(("started", run.header.baseline, len(run.trials)))

    def ilit_trial_finished(run: ilit.Run, trial: ilit.TrialRecord) -> None:
        heard.append((trial.number, open_run(run.folder).trials == run.trials, run.trials[-1] == trial))

    def ilit_run_finished(run: ilit.Run, result: ilit.TuneResult) -> None:
        heard.append(("finished", run.best == result.best, (run.folder / "best" / "README.md").exists(), run.state))

    observer = plugin(
        ilit_run_started=ilit_run_started, ilit_trial_finished=ilit_trial_finished, ilit_run_finished=ilit_run_finished
    )
    tuned = tuner(first_all_then_layer2, plugins={"observer": observer}, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert heard == [("started", 0.8828125, 0), (1, True, True), (2, True, True), ("finished", True, True, "finished")]


def test_a_completed_trial_is_heard_of_again(tuner: Make, plugin: Callable[..., Any]) -> None:
    """The pruned closest comes a second time with its score, and the finished run has it once."""
    heard: list[Any] = []

    def ilit_trial_finished(trial: ilit.TrialRecord) -> None:
        heard.append((trial.number, trial.status))

    def ilit_run_finished(run: ilit.Run, result: ilit.TuneResult) -> None:
        heard.append(run.trials == result.trials and run.closest == result.closest)

    observer = plugin(ilit_trial_finished=ilit_trial_finished, ilit_run_finished=ilit_run_finished)
    tuned = tuner(only_all, plugins={"observer": observer}, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match="no recipe met"):
        tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert heard == [(1, "pruned"), (1, "missed"), True]


def test_a_closest_that_stays_pruned_is_told_by_its_bound(tuner: Make) -> None:
    """Ctrl-C leaves no time to complete it: the message says what it could have reached, and that it is no score."""

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        yield Trial(space.recipe({}))
        raise KeyboardInterrupt

    tuned = tuner(search, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match=r"trial 1, scores at most 0\.8\d+ \(pruned after \d+ rows\); it is saved in"):
        assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is None


def test_an_observer_that_raises_ends_nothing(
    tuner: Make, plugin: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Exceptions in event hooks are logged with the plugin's name."""

    def ilit_trial_finished(run: ilit.Run) -> None:
        raise ZeroDivisionError

    tuned = tuner(only_layer2, plugins={"bad": plugin(ilit_trial_finished=ilit_trial_finished)}, metric="fake_accuracy")
    assert tuned.tune(MODEL, CALIBRATION, EVALUATION) is not None
    assert "plugin bad" in caplog.text
    assert "ilit_trial_finished raised" in caplog.text


def test_rules_of_plugins_narrow_the_space(tuner: Make, plugin: Callable[..., Any]) -> None:
    """``ilit_space_rules`` is asked after describing, and the strategy sees what it left."""
    seen: list[Any] = []

    def ilit_space_rules(space: ilit.SearchSpace, model: Any) -> ilit.SearchSpace:
        first = replace(space.ops["layer0"], candidates=(FLOAT32,))
        return replace(space, ops={**space.ops, "layer0": first})

    def search(space: Any, baseline: Any) -> Iterator[Any]:
        seen.append(space.ops["layer0"].candidates)
        yield Trial(space.recipe({"layer2": FLOAT32}))

    tuned = tuner(search, plugins={"rules": plugin(ilit_space_rules=ilit_space_rules)}, metric="fake_accuracy")
    tuned.tune(MODEL, CALIBRATION, EVALUATION)
    assert seen == [(FLOAT32,)]
