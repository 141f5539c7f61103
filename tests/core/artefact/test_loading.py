"""Loading tuned models by folder alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ilit
from ilit.errors import ArtefactError, PluginError
from ilit.evaluation.outputs import identical
from ilit.plugins.registry import Registry
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
