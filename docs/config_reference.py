"""Writes the tables of ``docs/reference/config.md`` from the options of ``ilit.config``.

``python docs/config_reference.py`` puts each table between its two markers, ``<!-- options: NAME -->`` and
``<!-- end of options -->``; the rest of the page stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilit.config.model import TRANSFORM_OPTIONS
from ilit.config.options import OPTIONS
from ilit.config.schema import Option, OptionTable

PAGE = Path(__file__).parent / "reference" / "config.md"
_TABLE = re.compile(r"(<!-- options: (\w+) -->\n).*?(<!-- end of options -->)", re.DOTALL)


def page(text: str, table: OptionTable[Any] = OPTIONS) -> str:
    """Return the page's text with its tables as ``table`` has them.

    Raises:
        ValueError: the page has no place for an option, or a table without options.
    """
    tables = _tables(table)
    places = [name for _, name, _ in _TABLE.findall(text)]
    if sorted(places) != sorted(tables):
        raise ValueError(f"the page has tables for {sorted(places)}, the options are of {sorted(tables)}")
    return _TABLE.sub(lambda found: f"{found[1]}{tables[found[2]]}{found[3]}", text)


def _tables(table: OptionTable[Any]) -> dict[str, str]:
    rows: dict[str, list[tuple[str, ...]]] = {}
    for holder, option in ((part.holder, option) for part in (table, TRANSFORM_OPTIONS) for option in part.options):
        row = (f"`{option.key}`", option.help, _default(option, holder))
        rows.setdefault(option.page, []).append(row)
    tables = {name: _markdown(("key", "values", "default"), lines) for name, lines in rows.items() if name}
    older = [(", ".join(f"`{name}`" for name in o.older), f"`{o.key}`") for o in table.options if o.older]
    return {**tables, "older": _markdown(("read as", "present name"), older)}


def _default(option: Option, holder: type[Any]) -> str:
    """Return the option's words for its default, or the value that an empty configuration has."""
    value = option.plain(holder())
    if option.default or value is None:
        return option.default
    (value,) = value if isinstance(value, list) and len(value) == 1 else (value,)
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"{value:.12g}" if isinstance(value, (int, float)) else f"`{value}`"


def _markdown(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown; columns without a word in them are left out."""
    columns = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    lines = ["".join(f" {row[at]} |" if row[at] else " |" for at in columns) for row in (heads, *rows)]
    lines.insert(1, "---|" * len(columns))
    return "".join(f"|{line}\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
