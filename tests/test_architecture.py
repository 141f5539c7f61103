"""The rooms of the core: who imports whom, how large folders and functions may be, and the page that shows it."""

from __future__ import annotations

import ast
import re
import runpy
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "rooms.py")))
CORE: Path = ROOMS.CORE
ARCHITECTURE: Path = ROOMS.PAGE
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = sorted(str(file.parent.relative_to(CORE)) for file in CORE.glob("*/**/__init__.py"))
PACKAGES = {
    "ilit": CORE,
    **{name: ROOT / "plugins" / name / "src" / name for name in ("ilit_pytorch", "ilit_strategies", "ilit_bert")},
}
TOP_MOST, FOLDER_MOST = 15, 9
BODY_MOST, BODY_P90, BODY_MEDIAN, PARAMETERS_MOST = 40, 14, 4, 7
Definition = ast.FunctionDef | ast.AsyncFunctionDef


# --- Who imports whom ------------------------------------------------------------------------------------------------


def test_no_circle_among_modules() -> None:
    """Each module stands above all that it imports, inside functions included."""
    assert len(ROOMS.floors(ROOMS.module_arrows())) > 50


def test_no_circle_among_rooms() -> None:
    """Each room, a module at the top or a folder, stands above all that it imports."""
    rooms = ROOMS.floors(ROOMS.room_arrows(ROOMS.module_arrows()))
    assert {folder.partition("/")[0] for folder in FOLDERS} < set(rooms)


def test_nobody_inside_imports_from_the_door() -> None:
    """``ilit/__init__`` hands names on to users; in the core each is imported from where it is defined."""
    doors = [
        f"{name}: {ast.unparse(node)}"
        for name, file in ROOMS.modules().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and "ilit" in {alias.name for alias in node.names})
        or (isinstance(node, ast.ImportFrom) and node.module == "ilit" and not _modules_alone(node))
    ]
    assert doors == []


def _modules_alone(node: ast.ImportFrom) -> bool:
    return all(alias.name in ROOMS.modules() for alias in node.names)


def declared_orders() -> dict[str, list[str]]:
    """Return folder -> its modules in the order that the architecture page declares, bottom first."""
    rows = re.findall(r"^\| `ilit/([\w/]+)/` \| (.*) \|$", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    return {folder: re.findall(r"`(\w+)/?`", names) for folder, names in rows}


def inside(folder: str) -> dict[str, set[str]]:
    """Return each module and folder of a folder -> those of the same folder that it imports."""
    within = folder.replace("/", ".")

    def member(module: str) -> str:
        return "__init__" if module == within else module.removeprefix(f"{within}.").partition(".")[0]

    arrows: dict[str, set[str]] = {}
    for module, used in ROOMS.module_arrows().items():
        if f"{module}.".startswith(f"{within}."):
            near = {member(name) for name in used if f"{name}.".startswith(f"{within}.")}
            arrows.setdefault(member(module), set()).update(near - {member(module)})
    return arrows


def test_every_folder_has_a_declared_order() -> None:
    """No folder is left out, and none is declared that is not there."""
    assert sorted(declared_orders()) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_stand_on_those_before_them(folder: str) -> None:
    """Within a folder a module imports only what the declared order has before it; ``__init__`` comes last."""
    order, arrows = [*declared_orders()[folder], "__init__"], inside(folder)
    assert sorted(order) == sorted(arrows), f"{ARCHITECTURE.name} has to say where each module of {folder}/ stands"
    wrong = [
        f"{folder}/{name} imports {used}, which does not stand before it"
        for at, name in enumerate(order)
        for used in sorted(arrows[name] & set(order[at:]))
    ]
    assert wrong == [], f"move what is shared down, or correct the order in {ARCHITECTURE.name}"


# --- How large things are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_folders_can_be_read_at_a_glance(folder: str) -> None:
    """``ls`` shows few modules, ``__init__`` included."""
    most = FOLDER_MOST if folder else TOP_MOST
    found = sorted(file.name for file in (CORE / folder).glob("*.py"))
    assert len(found) <= most, f"{len(found)} modules in ilit/{folder}, at most {most}: {', '.join(found)}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_what_lives_there(folder: str) -> None:
    """The docstring of its ``__init__`` begins with one whole sentence in one line."""
    first, _, rest = (ast.get_docstring(_parsed(CORE / folder / "__init__.py")) or "").partition("\n")
    assert first.endswith("."), f"ilit/{folder}/__init__.py: say in one line what lives there"
    assert rest == "" or rest.startswith("\n"), f"ilit/{folder}/__init__.py: an empty line after the first"


def functions() -> Iterator[tuple[str, Definition]]:
    """Yield every function of the core with its place."""
    for file in sorted(CORE.rglob("*.py")):
        for node in ast.walk(_parsed(file)):
            if isinstance(node, Definition):
                yield f"{file.relative_to(CORE)}:{node.lineno} {node.name}", node


def body_lines(node: Definition) -> int:
    """Return the lines of a function's body, signature and docstring not counted."""
    body = node.body[ast.get_docstring(node) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(node: Definition) -> int:
    """Return the number of parameters, ``self`` and ``cls`` not counted."""
    given = [*node.args.posonlyargs, *node.args.args]
    own = bool(given) and given[0].arg in ("self", "cls")
    extra = [node.args.vararg, node.args.kwarg]
    return len(given) + len(node.args.kwonlyargs) + sum(part is not None for part in extra) - own


def test_functions_fit_a_screen() -> None:
    """No body is long, and most are short."""
    sizes = {place: body_lines(node) for place, node in functions()}
    ordered = sorted(sizes.values())
    assert {place: size for place, size in sizes.items() if size > BODY_MOST} == {}
    assert ordered[int(len(ordered) * 0.9)] <= BODY_P90
    assert statistics.median(ordered) <= BODY_MEDIAN


def test_functions_take_few_parameters() -> None:
    """What belongs together is one value."""
    counts = {place: parameters(node) for place, node in functions()}
    assert {place: count for place, count in counts.items() if count > PARAMETERS_MOST} == {}


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


# --- What the pages say ----------------------------------------------------------------------------------------------


def test_the_drawing_is_todays() -> None:
    """``python docs/rooms.py`` would change nothing."""
    page = ARCHITECTURE.read_text(encoding="utf-8")
    assert ROOMS.with_drawing(page) == page, "run python docs/rooms.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_place_named_is_there(page: Path) -> None:
    """Folders, files and what is defined in them, as pages name them: ``ilit/search/trial.py:run_trial``."""
    named = re.findall(r"`((?:ilit\w*|tests|docs|bench|examples)/[\w/.-]*)(?::([\w.]+))?`", page.read_text("utf-8"))
    assert [f"{path}:{name}" for path, name in named if not is_there(path, name)] == []


def is_there(path: str, name: str) -> bool:
    """Return whether a file or folder is there, and the file defines the name."""
    first, _, rest = path.partition("/")
    file = PACKAGES.get(first, ROOT / first) / rest
    return name in set(defined(_parsed(file))) if name and file.is_file() else not name and file.exists()


def defined(tree: ast.Module | ast.ClassDef, above: str = "") -> Iterator[str]:
    """Yield what a module or a class defines, members of classes as ``Class.member``."""
    for node in tree.body:
        if isinstance(node, Definition | ast.ClassDef):
            yield above + node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (above + target.id for target in targets if isinstance(target, ast.Name))
        if isinstance(node, ast.ClassDef):
            yield from defined(node, f"{node.name}.")


def test_the_architecture_page_names_every_room() -> None:
    """Beside the drawing, the tables lead into each folder of the core."""
    named = re.findall(r"`ilit/([\w/]+)/\w+\.py", ARCHITECTURE.read_text(encoding="utf-8"))
    assert sorted(set(FOLDERS) - set(named)) == []
