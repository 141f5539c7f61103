"""The how-to page and the plugin template: what they show runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ilit.testing import ANSWERS, SPACES, simulate
from ilit_strategies import plugin

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "write-a-strategy.md"
TEMPLATE = ROOT / "examples" / "plugin-template"


def test_the_how_to_page_runs_from_top_to_bottom() -> None:
    """Every python block, in order, in one namespace; the page's own assertions hold and its strategy is lawful."""
    shown: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL), start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), shown)  # noqa: S102 - our own page

    greedy = shown["Greedy"]
    for space in SPACES.values():
        for answer in ANSWERS.values():
            assert all(request.recipe in space for request in simulate(greedy(greedy.Options()), space, answer))


@pytest.mark.parametrize("name", [strategy.name for strategy in plugin.ilit_strategies()])
def test_the_how_to_page_names_every_strategy(name: str) -> None:
    """The table of strategies to read is complete."""
    assert f"| `{name}` |" in PAGE.read_text()


def test_the_template_passes_its_own_tests() -> None:
    """The template, a project of its own with its own settings, is lawful as it is copied."""
    paths = [str(TEMPLATE / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEMPLATE)],
        cwd=TEMPLATE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
