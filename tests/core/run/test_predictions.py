"""Predictions of a run: plain arrays on disk, read back as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilit.errors import RunError
from ilit.run import read_predictions
from ilit.run.predictions import write_predictions


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_what_is_written_is_read_back(tmp_path: Path, dtype: type) -> None:
    """Values and the small type, under the trial's number."""
    values = np.arange(5).astype(dtype)
    write_predictions(tmp_path, 12, values)
    found = read_predictions(tmp_path, 12)
    assert (tmp_path / "predictions" / "012.npy").exists()
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


def test_labels_have_a_file_of_their_own(tmp_path: Path) -> None:
    """Any tool that reads numpy's files can score a trial anew."""
    write_predictions(tmp_path, "labels", np.array([1, 0], np.uint8))
    assert np.load(tmp_path / "predictions" / "labels.npy", allow_pickle=False).tolist() == [1, 0]
    assert read_predictions(str(tmp_path), "labels").tolist() == [1, 0]


def test_no_pickle_is_written(tmp_path: Path) -> None:
    """Objects are refused by numpy before anything could be executed on reading."""
    with pytest.raises(ValueError, match="allow_pickle"):
        write_predictions(tmp_path, 1, np.array([{}], dtype=object))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the cure are said."""

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(RunError, match=r"001.npy: cannot be written \(No space left on device\); free some space"):
        write_predictions(tmp_path, 1, np.zeros(1))


@pytest.mark.parametrize("damage", [None, b"", b"no array"], ids=["missing", "empty", "damaged"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, damage: bytes | None) -> None:
    """A trial without predictions is named by its file."""
    (tmp_path / "predictions").mkdir()
    if damage is not None:
        (tmp_path / "predictions" / "003.npy").write_bytes(damage)
    with pytest.raises(RunError, match=r"003.npy: cannot be read .*the trial was pruned, failed") as caught:
        read_predictions(tmp_path, 3)
    assert len(str(caught.value).splitlines()) == 1
