"""The float model is the user's own and answers alike twice, or that is said before anything is searched."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ilit import Trial, Tuner
from ilit.errors import IlitWarning, ModelError
from ilit.evaluation.fidelity import SAMPLE_ROWS, check_float_model, fresh, sample_rows
from ilit.evaluation.outputs import ROUNDING, identical
from ilit.testing import FakeAdapter, fake_data, fake_model

MODEL = fake_model()
DATA = fake_data(MODEL)
EXAMPLE = DATA[0]
Make = Callable[..., Tuner]


class Adapter(FakeAdapter):
    """Answers with the wrapped outputs of two models, and notes the rows of each pass."""

    def __init__(self, answer: Callable[[Any], Any] = lambda y: y, own: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.answer, self.own, self.rows = answer, own or answer, list[int]()

    def outputs(self, model: Any, batch: Any) -> Any:
        self.rows.append(len(batch[1]))
        return self.answer(super().outputs(model, batch))

    def own_outputs(self, model: Any, batch: Any) -> Any:
        self.rows.append(len(batch[1]))
        return self.own(super().own_outputs(model, batch))


def look(adapter: FakeAdapter, example: Any = EXAMPLE) -> Any:
    """Look at the fake model."""
    return check_float_model(adapter, MODEL, replace(MODEL, training=False), example)


def test_a_few_rows_suffice() -> None:
    """Three passes over eight rows: the float model twice, the user's own once."""
    adapter = Adapter()
    sample = look(adapter)
    assert adapter.rows == [SAMPLE_ROWS] * 3
    assert sample.repeats
    assert sample.whole is EXAMPLE
    assert identical(sample.batch, (EXAMPLE[0][:SAMPLE_ROWS], EXAMPLE[1][:SAMPLE_ROWS]))


def without(*names: str) -> FakeAdapter:
    """Return an adapter without some of its methods."""
    return type("Lacking", (Adapter,), dict.fromkeys(names))()


@pytest.mark.parametrize(
    ("adapter", "example", "rows"),
    [
        pytest.param(without("regroup"), EXAMPLE, 32, id="no regroup"),
        pytest.param(without("row_shapes"), EXAMPLE, 32, id="no shapes"),
        pytest.param(Adapter(), (EXAMPLE[0], 1), 32, id="one label for all"),
        pytest.param(Adapter(), (EXAMPLE[0][:5], EXAMPLE[1][:5]), 5, id="few anyway"),
    ],
)
def test_rows_that_cannot_be_told_apart_stay_together(adapter: Any, example: Any, rows: int) -> None:
    """The whole batch is taken as it is."""
    assert sample_rows(adapter, example) is example
    if isinstance(example[1], np.ndarray):
        assert look(adapter, example).batch is example
        assert adapter.rows == [rows] * 3


def test_a_few_rows_that_do_not_run_alone_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A graph's other input still has all its nodes; the whole batch runs."""

    def needs_all(outputs: Any) -> Any:
        if len(outputs) < 32:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return outputs

    adapter = Adapter(needs_all)
    with caplog.at_level(logging.INFO, logger="ilit"):
        assert look(adapter).batch is EXAMPLE
    assert adapter.rows == [8, 32, 32, 32]
    assert "compared on a whole batch, since a few of its rows raise RuntimeError: mat1" in caplog.text


class Lock:
    """What has no copy."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")


@pytest.mark.parametrize("whole", [False, True], ids=["a few rows", "a whole batch"])
def test_a_model_that_writes_into_its_input_is_not_random(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, lacking: Callable[..., Any], whole: bool
) -> None:
    """Each pass has a copy of the rows, before the search and after it."""
    for name in ("outputs", "own_outputs"):
        plain: Any = getattr(FakeAdapter, name)

        def writing(self: Any, model: Any, batch: Any, plain: Any = plain) -> Any:
            found = plain(self, model, batch)
            batch[0][:] *= 2
            return found

        monkeypatch.setattr(FakeAdapter, name, writing)
    if whole:
        lacking("regroup", "row_shapes")
    ready = tuner(only_first, accuracy_criterion={"absolute": 0.9})
    data = [(x.copy(), y) for x, y in DATA]
    assert ready.tune(MODEL, data, eval_func=lambda model: float(model(EXAMPLE[0]).mean())) is not None
    assert identical(data[0], EXAMPLE)


def test_a_batch_without_a_copy_is_taken_as_it_is() -> None:
    """Nothing is lost to it."""
    lock = Lock()
    assert fresh(lock) is lock


# --- The user's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "text"),
    [
        pytest.param(lambda y: y + 2 * y.std(), "by up to 200 % of their spread (output)", id="far off"),
        pytest.param(lambda y: y * np.float32(1 + 1e-3), "% of their spread (output)", id="a little"),
        pytest.param(lambda y: {"logits": y}, "in form (output)", id="another structure"),
        pytest.param(lambda y: y[:, :2], "in form (output)", id="another shape"),
    ],
)
def test_a_copy_that_is_another_function_is_refused(own: Callable[[Any], Any], text: str) -> None:
    """The model's class, how far off, where, and the cure, in one line."""
    with pytest.raises(ModelError, match=r"^FakeModel: ilit's float32 copy of it answers otherwise, ") as caught:
        look(Adapter(own=own))
    assert text in str(caught.value)
    assert "register it as a buffer or hand it on as input and output" in str(caught.value)
    assert "first in" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_first_module_that_differs_is_named() -> None:
    """Where the adapter knows it; a search for it that fails costs no message."""
    adapter = Adapter(own=lambda y: y + 1)
    adapter.first_difference = lambda *_: "layer2"  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"\(output\), first in 'layer2'; state"):
        look(adapter)

    def fail(*_: Any) -> str:
        raise ZeroDivisionError

    adapter.first_difference = fail  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"\(output\); state"):
        look(adapter)


def test_rounding_is_no_difference(caplog: pytest.LogCaptureFixture) -> None:
    """Another order of summing is noted in the log."""
    with caplog.at_level(logging.INFO, logger="ilit"):
        assert look(Adapter(own=lambda y: y + np.float32(0.5 * ROUNDING) * y.std())).repeats
    assert "the float32 model is the given one but for rounding" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("no compiler"), ModelError("one dict: wrap it")], ids=["any", "ours"])
def test_a_model_that_runs_as_a_copy_alone_is_said(error: Exception) -> None:
    """A mistake that the adapter names is one; anything else is a warning, and the run goes on."""

    def fail(outputs: Any) -> Any:
        raise error

    if isinstance(error, ModelError):
        with pytest.raises(ModelError, match="one dict: wrap it"):
            look(Adapter(own=fail))
        return
    with pytest.warns(IlitWarning, match="FakeModel: raises RuntimeError: no compiler where ilit's float32 copy of it"):
        assert look(Adapter(own=fail)).repeats


def test_what_no_artefact_could_hold_is_refused(tuner: Make) -> None:
    """Before the search, in the adapter's words."""
    wide = replace(MODEL, weights={**MODEL.weights, "layer2": MODEL.weights["layer2"].astype(np.float64)})
    tuned = tuner(only_first, metric="fake_accuracy")
    with pytest.raises(ModelError, match="op 'layer2': an artefact holds float32"):
        tuned.tune(wide, fake_data(MODEL, 64, seed=9), DATA)
    assert tuned.result is None


# --- Answers -------------------------------------------------------------------------------------------------------


def only_first(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the space's first choices."""
    yield Trial(space.recipe({}))


def random_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every pass of every model answer a little otherwise."""
    rng, plain = np.random.default_rng(0), FakeAdapter.outputs

    def outputs(self: FakeAdapter, model: Any, batch: Any) -> Any:
        found = plain(self, model, batch)
        return found + rng.standard_normal(found.shape).astype(np.float32) * found.std() / 10

    monkeypatch.setattr(FakeAdapter, "outputs", outputs)
    monkeypatch.setattr(FakeAdapter, "own_outputs", outputs)


def test_random_answers_are_said_and_the_search_goes_on(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning before it; nothing is regrouped, and the model is saved without comparison, which the log says."""
    random_answers(monkeypatch)
    tuned = tuner(only_first, metric="fake_accuracy", accuracy_criterion={"absolute": 0.5})
    with pytest.warns(
        IlitWarning, match="FakeModel: its outputs differ from call to call on the same rows, by"
    ) as caught:
        assert tuned.tune(MODEL, fake_data(MODEL, 64, seed=9), DATA) is not None
    assert [warning.filename for warning in caught] == [__file__]
    assert "it is random (dropout left on, sampling)" in str(caught[0].message)
    assert tuned.result is not None
    log = (tuned.result.folder / "log.txt").read_text()
    assert "rows stay in the loader's batches: its outputs differ from call to call" in log
    assert "best: saved without comparison, since the model's outputs differ from call to call" in log
    assert (tuned.result.folder / "best" / "recipe.json").exists()


@dataclasses.dataclass
class Answer:
    """An answer with a part that has no value."""

    logits: Any
    cache: Any


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(
            lambda y: Answer(y, (object(), object())),
            r"its output.cache\[0\] \(a object\) and 1 more cannot be compared, only its 1 other parts are",
            id="some",
        ),
        pytest.param(lambda _: object(), r"its output \(a object\) cannot be compared, nor is anything else", id="all"),
    ],
)
def test_what_cannot_be_compared_is_said_once(
    tuner: Make, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any], Any], text: str
) -> None:
    """By the leaf, before the search; the model is tuned and saved."""
    for name in ("outputs", "own_outputs"):
        plain: Any = getattr(FakeAdapter, name)
        monkeypatch.setattr(FakeAdapter, name, lambda *arguments, plain=plain: answer(plain(*arguments)))
    tuned = tuner(only_first, accuracy_criterion={"absolute": 0.9})
    with pytest.warns(IlitWarning, match=f"FakeModel: {text}") as caught:
        assert tuned.tune(MODEL, DATA, eval_func=lambda model: float(model(EXAMPLE[0]).mean())) is not None
    assert [warning.filename for warning in caught] == [__file__]
    assert tuned.result is not None
    assert (tuned.result.folder / "best" / "recipe.json").exists()
