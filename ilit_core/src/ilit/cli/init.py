"""``ilit init``: write a configuration to start from, with every key explained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ilit.cli.output import JsonFlag, report
from ilit.config.options import OPTIONS
from ilit.config.schema import OptionTable
from ilit.errors import ConfigError

_OPENING = """\
# ilit's configuration. Every line that is commented out shows a default, or what could be said there.
# A list of plain values is a list of candidates for the search.
"""


def template(table: OptionTable[Any] = OPTIONS) -> str:
    """Return the text of a configuration that says the defaults, with comments aligned."""
    shown = sorted((option for option in table.options if option.template), key=lambda option: option.template_place)
    parts = [_OPENING]
    for section in dict.fromkeys(option.section for option in table.options if option.template):
        opening = [table.comments[section]] if section in table.comments else []
        opening += [f"{section}:"] if section else []
        lines = [
            _aligned(line, "  " if section else "")
            for option in shown
            if option.section == section
            for line in option.template.splitlines()
        ]
        parts.append("".join(f"{line}\n" for line in (*opening, *lines)))
    return "\n".join(parts)


def _aligned(line: str, indentation: str) -> str:
    said, mark, comment = line.partition("  # ")
    return f"{indentation + said:<31}   # {comment}" if mark else f"{indentation}{line}"


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("conf.yaml"), as_json: JsonFlag = False
) -> None:
    """Write a commented configuration to start from. A file that is there already stays as it is."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(template())
    except FileExistsError as error:
        raise ConfigError(f"{file}: exists already and stays as it is; name another file, or remove it") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; name another file") from error
    report({"file": file}, as_json, lambda console: console.print(f"wrote {escape(str(file))}", soft_wrap=True))
