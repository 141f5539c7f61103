"""``ilit check``: read a configuration as a run would, and say what it would search for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ilit.cli.output import JsonFlag, only_json, report
from ilit.config import Config, read_config, resolved, resolved_yaml
from ilit.config.options import OPTIONS
from ilit.config.schema import OptionTable
from ilit.plugins.parts import check_names
from ilit.plugins.registry import Registry, installed_plugins


def check(conf: Annotated[Path, typer.Argument(help="The configuration.")], as_json: JsonFlag = False) -> None:
    """Check a configuration and print it with every default filled in."""
    with only_json(as_json), _log_lines() as logged:
        config = read_config(conf)
        installed = installed_plugins()
        notes = [*logged, *check_names(config, installed)]
        searched = _searched(config, installed)
    data = {"source": config.source, "config": resolved(config), "search": searched, "notes": notes}
    report(data, as_json, lambda console: _show(config, searched, notes, console))


class _Collect(logging.Handler):
    """Keeps the text of each record."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def _log_lines() -> Iterator[list[str]]:
    """Collect what the logger ``ilit`` says, such as the present names of older keys."""
    logger, lines = logging.getLogger("ilit"), list[str]()
    handler, level = _Collect(lines), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def sentences(config: Config, table: OptionTable[Any] = OPTIONS) -> dict[str, str]:
    """Return the sentences on what a run with this configuration would do, by name, in the order they are told."""
    told = sorted(table.options, key=lambda option: option.sentences_place)
    return {name: sentence for option in told for name, sentence in option.sentences(config).items()}


def _searched(config: Config, installed: Registry) -> dict[str, str]:
    """Return the sentences, with where the strategy comes from."""
    said = sentences(config)
    origin = installed.origin("strategy", config.strategy.name)
    return {**said, "strategy": f"{said['strategy']} of {origin.distribution} {origin.version}".strip()}


def _show(config: Config, searched: dict[str, str], notes: list[str], console: Console) -> None:
    console.print(resolved_yaml(config), markup=False, soft_wrap=True)
    for name, sentence in searched.items():
        console.print(f"{name}: {sentence}", markup=False, soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
