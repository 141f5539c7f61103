"""Loading tuned models by folder alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ilit
from ilit.artefact import COMPARED_ROWS, keep
from ilit.errors import ArtefactError, PluginError
from ilit.outputs import identical
from ilit.plugins import Registry
from ilit.space import CalibrationSize
from ilit.testing import FakeAdapter, fake, fake_data, fake_model
from ilit.tuner import Tuner

MODEL = fake_model()
DATA = fake_data(MODEL)


def only_first(space: Any, baseline: Any) -> Any:
    """Ask for the space's first choices."""
    yield ilit.Trial(space.recipe({}))


@pytest.fixture
def best(tuner: Callable[..., Tuner], installed: Callable[..., Registry]) -> tuple[Path, Any]:
    """Return the folder of a tuned model and the model as ``tune`` returned it; the fake adapter is installed."""
    installed(fake=fake)
    tuned = tuner(only_first, metric="fake_accuracy")
    model = tuned.tune(MODEL, fake_data(MODEL, 64, seed=9), DATA)
    assert tuned.result is not None
    return tuned.result.folder / "best", model


def test_a_tuned_model_is_loaded_by_its_folder(best: tuple[Path, Any]) -> None:
    """``recipe.json`` names the adapter; the folder may be moved, and nothing else of the run is needed."""
    folder, model = best
    moved = folder.rename(folder.parent.parent / "elsewhere")
    assert identical(ilit.load(str(moved))(DATA[0][0]), model(DATA[0][0]))


@pytest.mark.parametrize(("regroups", "rows"), [(True, COMPARED_ROWS), (False, len(DATA[0][1]))])
def test_a_few_rows_show_that_the_model_read_back_is_the_one_written(tmp_path: Path, regroups: bool, rows: int) -> None:
    """Both are run on the first rows, on the whole batch where the adapter cannot tell rows apart."""
    seen: list[int] = []

    class Watching(FakeAdapter):
        def outputs(self, model: Any, batch: Any) -> Any:
            seen.append(len(batch[1]))
            return super().outputs(model, batch)

    if not regroups:
        Watching.regroup = None  # type: ignore[assignment,method-assign]  # as if it had none
    adapter = Watching()
    space = replace(adapter.describe(MODEL, DATA[0]), calibrations=(CalibrationSize(1, "batches"),))
    lowered = adapter.lower(MODEL, space.recipe({}), adapter.calibrate(MODEL, DATA, space))
    keep(adapter, lowered, MODEL, tmp_path / "best", DATA[0], lambda _: None)
    assert seen == [rows, rows]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, r"recipe.json: cannot be read .*give the folder of a tuned model, such as best/", id="none"),
        pytest.param("{", "names no adapter, so it is damaged or not ilit's", id="no JSON"),
        pytest.param("[]", "names no adapter", id="a list"),
        pytest.param("{}", "names no adapter", id="no key"),
        pytest.param(json.dumps({"adapter": 3}), "names no adapter", id="no text"),
    ],
)
def test_what_is_no_tuned_model_is_refused(tmp_path: Path, content: str | None, text: str) -> None:
    """One line with the file and what to give instead."""
    if content is not None:
        (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(ArtefactError, match=text) as caught:
        ilit.load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_adapter_is_named(tmp_path: Path, installed: Callable[..., Registry]) -> None:
    """A model of a framework that is not installed says what it needs."""
    installed(fake=fake)
    (tmp_path / "recipe.json").write_text(json.dumps({"adapter": "pytorch"}))
    with pytest.raises(PluginError, match="no adapter 'pytorch'; installed: fake"):
        ilit.load(tmp_path)


def test_damage_is_the_adapters_to_find(best: tuple[Path, Any]) -> None:
    """A folder without its weights is an error with the folder."""
    (best[0] / "model.safetensors").unlink()
    with pytest.raises(ArtefactError, match="best: is no saved fake model"):
        ilit.load(best[0])
    assert FakeAdapter.name == "fake"
