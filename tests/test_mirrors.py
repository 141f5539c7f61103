"""Tests stand where the source does: ``ilit/run/front.py`` is tested by ``tests/core/run/test_front.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, TESTS = ROOT / "ilit_core" / "src" / "ilit", ROOT / "tests" / "core"
MODULES = [file.relative_to(CORE) for file in sorted(CORE.rglob("*.py")) if file.name != "__init__.py"]
# Tests that no module is named after.
OF_PACKAGES = {"cli/test_main.py", "config/test_source_errors.py", "test_init.py", "test_testing.py"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_tests(module: Path) -> None:
    """Whoever changes a module knows the file to run, and that file has a test in it."""
    file = TESTS / module.with_name(f"test_{module.name}")

    assert file.is_file()
    assert re.search(r"^def test_|^class Test", file.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_test_has_its_module() -> None:
    """A test whose module was renamed or removed is found."""
    files = {file.relative_to(TESTS) for file in TESTS.rglob("test_*.py")}
    sources = {file.with_name(file.name.removeprefix("test_")) for file in files if str(file) not in OF_PACKAGES}

    assert sorted(map(str, sources - set(MODULES))) == []
