"""List what is public of ilit: ``python docs/python_reference.py`` writes the list into reference/python.md.

``ilit`` is public, and so are the modules and folders directly below it that have an ``__all__``: the names in it, no
other ones, and no module inside a folder.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import textwrap
from pathlib import Path

import ilit

PAGE = Path(__file__).parent / "reference" / "python.md"
BEGIN, END = "<!-- names: made by docs/python_reference.py -->\n", "<!-- end of names -->"
WIDTH = 120


def public_modules() -> dict[str, tuple[str, ...]]:
    """Return module -> its public names, ``ilit`` first, then by name."""
    below = sorted(f"ilit.{module.name}" for module in pkgutil.iter_modules(ilit.__path__))
    found = {name: getattr(importlib.import_module(name), "__all__", None) for name in ("ilit", *below)}
    return {name: tuple(names) for name, names in found.items() if names is not None}


def listing() -> str:
    """Return an entry a module: the first line of its docstring, and its names."""
    return "".join(_entry(name, names) for name, names in public_modules().items())


def _entry(module: str, names: tuple[str, ...]) -> str:
    about = (importlib.import_module(module).__doc__ or "").splitlines()[0].replace("``", "`")
    lines = textwrap.wrap(", ".join(f"`{name}`" for name in names), WIDTH)
    return "\n".join([f"### `{module}`", "", about, "", *lines, "", ""])


def page(text: str) -> str:
    """Return the page with the list as it is now.

    Raises:
        ValueError: the page has no place for the list, or two.
    """
    parts = re.split(f"({re.escape(BEGIN)}).*?({re.escape(END)})", text, flags=re.DOTALL)
    if len(parts) != 4:
        raise ValueError(f"{PAGE.name}: expected one place for the list, found {len(parts) // 3}")
    before, begin, end, after = parts
    return f"{before}{begin}\n{listing()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
