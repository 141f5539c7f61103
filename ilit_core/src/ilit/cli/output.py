"""What every command prints: one JSON object, or the same facts for a reader."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def report(data: Mapping[str, Any], as_json: bool, show: Callable[[Console], None]) -> None:
    """Print ``data`` as JSON on stdout, or call ``show`` with a console on stdout.

    JSON has no NaN and no infinity: both are written as null.
    """
    if as_json:
        sys.stdout.write(json.dumps(_json_value(data), indent=2, allow_nan=False) + "\n")
    else:
        show(Console(file=sys.stdout, highlight=False))


@contextlib.contextmanager
def only_json(as_json: bool) -> Iterator[None]:
    """With ``--json``, send to stderr what libraries print while the block runs; leave it before ``report``."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
