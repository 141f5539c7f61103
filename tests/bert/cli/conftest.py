"""What the tests of the commands share."""

from __future__ import annotations

import pytest

CONFIG = "tuning: {objective: modelsize}\nrun: {folder: runs}\n"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A folder of its own for each test, with a configuration that no clock decides."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf.yaml").write_text(CONFIG)


@pytest.fixture
def flags(sentiment):
    """Flags of a run that passes."""
    return ["--model", f"{sentiment / 'checkpoint'}", "--task", "SST-2", "--data-dir", f"{sentiment / 'data'}"]
