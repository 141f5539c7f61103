"""Draw the rooms of the core, from its imports: ``python docs/rooms.py`` writes the drawing into architecture.md.

A room is a module at the top of ``ilit``, or one of its folders. It stands one floor above the highest room that it
imports, so every arrow goes down. In the table, a room that is reached through another one anyway is left out.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).parent / "explanation" / "architecture.md"
CORE = Path(__file__).parents[1] / "ilit_core" / "src" / "ilit"
BEGIN, END = "<!-- rooms: made by docs/rooms.py -->\n", "<!-- end of rooms -->"
HEADS = ("floor", "modules: what users and plugin authors import", "folders: how a run works")
Arrows = Mapping[str, frozenset[str]]


def modules(core: Path = CORE) -> dict[str, Path]:
    """Return every module below ``core``: its dotted name without the package's, such as ``search.trial``."""
    files = sorted(core.rglob("*.py"))
    return {".".join(file.relative_to(core).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported(file: Path, known: Mapping[str, Path], package: str = CORE.name) -> frozenset[str]:
    """Return the modules among ``known``, all of one package, that a file imports, wherever the import stands."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(name for node in ast.walk(tree) for name in _named(node, known, package) if known[name] != file)


def _named(node: ast.AST, known: Mapping[str, Path], package: str) -> Iterator[str]:
    """Yield the modules that one statement imports; of ``from ilit.search import trial`` the inner one."""
    names: list[str] = []
    if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
        below = node.module.removeprefix(package).removeprefix(".")
        inner = [f"{below}.{alias.name}".removeprefix(".") for alias in node.names]
        names = [name if name in known else below for name in inner]
    elif isinstance(node, ast.Import):
        names = [alias.name.removeprefix(f"{package}.") for alias in node.names if alias.name.startswith(f"{package}.")]
    yield from (name for name in names if name in known)


def module_arrows(core: Path = CORE) -> dict[str, frozenset[str]]:
    """Return module -> the modules it imports, all but the package's ``__init__``, which only hands names on."""
    known = {name: file for name, file in modules(core).items() if name != "__init__"}
    return {name: imported(file, known, core.name) for name, file in known.items()}


def room_arrows(arrows: Arrows) -> dict[str, frozenset[str]]:
    """Return room -> the rooms it imports."""
    rooms: dict[str, set[str]] = {}
    for module, used in arrows.items():
        room = module.partition(".")[0]
        rooms.setdefault(room, set()).update(name.partition(".")[0] for name in used)
    return {room: frozenset(used - {room}) for room, used in rooms.items()}


def floors(arrows: Arrows) -> dict[str, int]:
    """Return the floor of each module or room, 1 for one that imports none.

    Raises:
        ValueError: some import each other in a circle; names them.
    """
    found: dict[str, int] = {}
    while len(found) < len(arrows):
        ready = {name for name, used in arrows.items() if name not in found and used <= found.keys()}
        if not ready:
            raise ValueError(f"imports run in a circle: {' -> '.join(_circle(arrows, found))}")
        found |= {name: 1 + max((found[used] for used in arrows[name]), default=0) for name in ready}
    return found


def _circle(arrows: Arrows, placed: Mapping[str, int]) -> list[str]:
    """Return one circle among what could not be placed: each of it imports another of it."""
    way = [min(arrows.keys() - placed.keys())]
    while way[-1] not in way[:-1]:
        way.append(min(arrows[way[-1]] - placed.keys()))
    return way[way.index(way[-1]) :]


def _direct(name: str, arrows: Arrows) -> frozenset[str]:
    """Return the rooms that one imports and reaches on no other way."""
    return arrows[name] - {far for near in arrows[name] for far in _reached(near, arrows)}


def _reached(name: str, arrows: Arrows) -> frozenset[str]:
    return arrows[name].union(*(_reached(used, arrows) for used in arrows[name]))


def _purpose(room: str, core: Path) -> str:
    """Return the first line of a room's docstring, as Markdown."""
    file = core / room / "__init__.py" if (core / room).is_dir() else core / f"{room}.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].replace("``", "`").replace("|", r"\|")


def tower(core: Path = CORE) -> str:
    """Return the drawing: a floor a line, the highest first; modules on the left, folders on the right."""
    by_floor = floors(room_arrows(module_arrows(core)))
    rows = [HEADS]
    for floor in range(max(by_floor.values()), 0, -1):
        rooms = sorted(room for room, own in by_floor.items() if own == floor)
        folders = [room for room in rooms if (core / room).is_dir()]
        plain = "  ".join(room for room in rooms if room not in folders)
        lines = textwrap.wrap(plain, len(HEADS[1]), break_on_hyphens=False) or [""]
        rows.append((f"{floor:5}", lines[0], "  ".join(f"{room}/" for room in folders)))
        rows += [("", line, "") for line in lines[1:]]
    return "".join(f"{floor:5}   {plain:{len(HEADS[1])}}   {folders}".rstrip() + "\n" for floor, plain, folders in rows)


def table(core: Path = CORE) -> str:
    """Return a table in Markdown: a line a room, the highest floor first, with what it is and what it stands on."""
    arrows = room_arrows(module_arrows(core))
    by_floor = floors(arrows)

    def shown(*rooms: str) -> str:
        ordered = sorted(rooms, key=lambda name: (-by_floor[name], name))
        return " ".join(f"`{room}/`" if (core / room).is_dir() else f"`{room}`" for room in ordered)

    lines = [
        f"| {shown(room)} | {_purpose(room, core)} | {shown(*_direct(room, arrows))} |\n"
        for room in sorted(arrows, key=lambda name: (-by_floor[name], name))
    ]
    return "".join(["| room | what | stands on |\n|---|---|---|\n", *lines])


def drawing(core: Path = CORE) -> str:
    """Return all that stands between the page's two markers: tower and table."""
    return f"```text\n{tower(core)}```\n\n{table(core)}"


def with_drawing(page: str, core: Path = CORE) -> str:
    """Return the page with the drawing as it is now.

    Raises:
        ValueError: the page does not have one place for it.
    """
    parts = re.split(f"({re.escape(BEGIN)}).*?({re.escape(END)})", page, flags=re.DOTALL)
    if len(parts) != 4:
        raise ValueError(f"{PAGE.name}: expected one place for the drawing, found {len(parts) // 3}")
    before, begin, end, after = parts
    return before + begin + drawing(core) + end + after


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(drawing())
    else:
        PAGE.write_text(with_drawing(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
