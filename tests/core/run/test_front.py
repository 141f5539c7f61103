"""``front.json``: what is written is read back, what is damaged is told."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ilit
from ilit import Trial, open_run
from ilit.adapter import Measurement
from ilit.errors import RunError
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.result import TrialRecord
from ilit.run.front import members, read_front, write_front
from ilit.testing import fake, fake_data, fake_model
from ilit.tuner import Tuner

DATA = Path(__file__).parents[2] / "data"
INT8 = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym", "per_token"), smoothing=0.7)
RECORDS = (
    TrialRecord(
        2,
        Recipe({"a": INT8, "b": INT8}),
        "passed",
        0.89,
        cost=Measurement(0.5, 25, 1),
        float_cost=Measurement(1.0, 100, 1),
    ),
    TrialRecord(
        4,
        Recipe({"a": INT8, "b": FLOAT32}),
        "passed",
        0.9,
        cost=Measurement(0.75, 60, 1),
        float_cost=Measurement(1.0, 100, 1),
    ),
)
FRONT = members(RECORDS)


def test_members_are_relative_to_their_own_float32() -> None:
    """Latency and size are shares of the float32 model's, and the medians they come from are there too."""
    assert [(m.trial, m.accuracy, m.relative_latency, m.relative_size) for m in FRONT] == [
        (2, 0.89, 0.5, 0.25),
        (4, 0.9, 0.75, 0.6),
    ]
    assert (FRONT[0].latency_int8_ms, FRONT[0].latency_fp32_ms, FRONT[0].size_fp32_bytes) == (500, 1000, 100)


def test_a_record_that_never_passed_is_no_member() -> None:
    """What was not measured cannot be compared."""
    with pytest.raises(ValueError, match="trial 2 cannot be on the front: its status is missed"):
        members([replace(RECORDS[0], status="missed", cost=None)])


@pytest.mark.parametrize("front", [FRONT, ()], ids=["two", "none"])
def test_what_was_written_is_read_back(tmp_path: Path, front: Any) -> None:
    """The same members in the same order, and nothing else is left in the folder."""
    write_front(tmp_path, front)
    write_front(tmp_path, front)
    assert read_front(tmp_path) == front
    assert [file.name for file in tmp_path.iterdir()] == ["front.json"]


def test_a_share_of_nothing_is_null_in_the_file(tmp_path: Path) -> None:
    """JSON has no infinity; read back it is one again."""
    front = (replace(FRONT[0], relative_size=math.inf),)
    write_front(tmp_path, front)
    assert json.loads((tmp_path / "front.json").read_text())["members"][0]["relative_size"] is None
    assert read_front(tmp_path) == front


def test_file_and_folder_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the content is there, and so is its name in the folder."""
    synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    write_front(tmp_path, FRONT)
    assert synced == [False, True]


def test_the_file_is_readable_by_programs(tmp_path: Path) -> None:
    """Version, digest, float ops and recipe are there by name."""
    write_front(tmp_path, FRONT)
    data = json.loads((tmp_path / "front.json").read_text())
    assert data["version"] == 2
    last = data["members"][1]
    assert (last["digest"], last["ops_float"]) == (RECORDS[1].recipe.digest, ["b"])
    assert last["recipe"] == RECORDS[1].recipe.to_json()


def test_version_1_stays_readable() -> None:
    """A run of an older ilit, whose names were others and whose times were in seconds, has its front."""
    run = open_run(DATA / "run-v1")
    assert run.front == members([run.trials[0]])
    assert (run.front[0].latency_int8_ms, run.front[0].size_fp32_bytes) == (pytest.approx(0.013312), 3328)


def test_damage_in_version_1_is_told(tmp_path: Path) -> None:
    """As in the present version."""
    text = (DATA / "run-v1" / "front.json").read_text()
    (tmp_path / "front.json").write_text(text.replace("bytes_int8", "octets"))
    with pytest.raises(RunError, match=r"is damaged \(KeyError: 'bytes_int8'\)"):
        read_front(tmp_path)


def test_a_folder_without_the_file_has_no_front(tmp_path: Path) -> None:
    """A run that goes on, or was killed, has none yet."""
    assert read_front(tmp_path) == ()


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that changes one key of the first member."""
    return lambda data: data["members"][0].update({key: value})


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a newer format": (lambda data: data.update(version=3), r"format version 3, this ilit reads 2; use the ilit that"),
    "no version": (lambda data: data.pop("version"), "is damaged"),
    "another recipe": (changed("digest", "0" * 64), "is damaged .*the recipe of trial 2 has another digest"),
    "a recipe of no form": (changed("recipe", 3), "is damaged"),
    "a missing figure": (
        lambda data: data["members"][1].pop("relative_latency"),
        "is damaged .*restore it from a copy",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_in_one_line(tmp_path: Path, damage: Callable[[dict[str, Any]], Any], message: str) -> None:
    """File, what is wrong with it, and what to do."""
    write_front(tmp_path, FRONT)
    file = tmp_path / "front.json"
    data = json.loads(file.read_text())
    damage(data)
    file.write_text(json.dumps(data))
    with pytest.raises(RunError, match=message) as caught:
        read_front(tmp_path)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    """A file cut off in the middle is damaged."""
    (tmp_path / "front.json").write_text('{"version": 2, "memb')
    with pytest.raises(RunError, match="is damaged"):
        read_front(tmp_path)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """What cannot be written is named with the cure."""
    with pytest.raises(RunError, match=r"front.json: cannot be written \(No such file or directory\)"):
        write_front(tmp_path / "none", FRONT)


def test_a_run_keeps_its_front(tuner: Callable[..., Tuner]) -> None:
    """After a run the folder gives the front that the result has."""
    model = fake_model(sensitive=("layer2",))

    def search(space: Any, baseline: Any) -> Any:
        yield Trial(space.recipe({"layer2": FLOAT32}))
        yield Trial(space.recipe({"layer2": FLOAT32, "layer3": FLOAT32}))

    tuned = tuner(search, metric="fake_accuracy", stop="budget")
    tuned.tune(model, fake_data(model, 64, seed=2), eval_dataloader=fake_data(model))
    assert tuned.result is not None
    assert tuned.result.front
    assert open_run(tuned.result.folder).front == members(tuned.result.front)


def test_the_models_of_the_whole_front_are_saved(tuner: Callable[..., Tuner], installed: Callable[..., Any]) -> None:
    """The most accurate, which is ``best`` here, in its own folder; each other one under its number, ready to load."""
    installed(fake=fake)
    model = fake_model(sensitive=("layer2",))
    data = fake_data(model)

    def search(space: Any, baseline: Any) -> Any:
        yield Trial(space.recipe({}))
        yield Trial(space.recipe({"layer2": FLOAT32}))

    loose = {"relative": 0.9}
    tuned = tuner(search, metric="fake_accuracy", stop="budget", accuracy_criterion=loose)
    best = tuned.tune(model, fake_data(model, 64, seed=2), eval_dataloader=data)

    assert tuned.result is not None
    numbers = {record.number for record in tuned.result.front}
    (other,) = numbers - {tuned.result.best.number}
    folder = tuned.result.folder / "front"
    assert [path.name for path in folder.iterdir()] == [f"{other:03d}"]
    loaded = ilit.load(folder / f"{other:03d}")
    assert set(loaded.recipe.quantized_ops) != set(best.recipe.quantized_ops)
