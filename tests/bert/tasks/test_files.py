"""A split's file is found, or its absence explained."""

from __future__ import annotations

import pytest

from ilit.errors import DataError
from ilit_bert.tasks.files import split_file
from ilit_bert.tasks.table import find_task


def test_missing_files_say_what_they_are_for(tmp_path):
    """A missing split says what it is needed for and what the folder holds, or where the files seem to be."""
    task = find_task("sst2")
    with pytest.raises(DataError, match=r"is no folder; name the one that holds SST-2's dev\.tsv"):
        split_file(task, tmp_path / "nowhere", "dev")
    with pytest.raises(DataError, match=r"dev\.tsv: is missing \(it is evaluated on\); the folder holds nothing"):
        split_file(task, tmp_path, "dev")
    (tmp_path / "dev.tsv").touch()
    with pytest.raises(
        DataError, match=r"train\.tsv: is missing \(calibration takes its rows from the training split\); .* dev\.tsv"
    ):
        split_file(task, tmp_path, "train")
    (tmp_path / "SST-2").mkdir()
    with pytest.raises(DataError, match=r"did you mean the folder .*/SST-2\?"):
        split_file(task, tmp_path, "train")
