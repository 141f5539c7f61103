"""The folders of the plugin: none is crowded, and imports between them and between their modules run one way."""

from __future__ import annotations

import ast
import runpy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

import ilit_pytorch

ROOMS = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "docs" / "rooms.py")))
PACKAGE = Path(ilit_pytorch.__file__).parent
FOLDERS = sorted(file.parent for file in PACKAGE.glob("*/__init__.py"))
MOST_MODULES = 10


def test_no_circle_among_modules() -> None:
    """Each module stands above all that it imports, imports inside functions included."""
    floors = ROOMS.floors(ROOMS.module_arrows(PACKAGE))
    assert floors["plugin"] > floors["adapter"] > floors["lowering.lower"] > floors["model.clone"] == 1


def test_no_circle_among_folders() -> None:
    """Each folder stands above all that its modules import, so that it can be read without those above it."""
    floors = ROOMS.floors(ROOMS.room_arrows(ROOMS.module_arrows(PACKAGE)))
    assert {folder.name for folder in FOLDERS} < floors.keys()


def test_no_folder_is_crowded() -> None:
    """Nobody looks for a module among more than ten, ``__init__`` counted."""
    modules = Counter(file.parent.relative_to(PACKAGE).as_posix() for file in ROOMS.modules(PACKAGE).values())
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_says_in_one_line_what_lives_there(folder: Path) -> None:
    """Its ``__init__`` is a docstring and imports nothing, so that one module of it costs no other."""
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(tree) or ""
    assert (len(tree.body), len(said.splitlines())) == (1, 1)


def test_all_folders_are_packages() -> None:
    """A folder without ``__init__`` would be left out of what is checked here."""
    assert {file.parent for file in PACKAGE.rglob("*.py")} == {PACKAGE, *FOLDERS}


def test_every_module_has_a_test_that_mirrors_it() -> None:
    """``lowering/op.py`` is tested by ``lowering/test_op.py``."""
    modules = (file.relative_to(PACKAGE) for file in ROOMS.modules(PACKAGE).values() if file.name != "__init__.py")
    tests = Path(__file__).parent
    assert [str(file) for file in modules if not (tests / file.parent / f"test_{file.name}").exists()] == []
