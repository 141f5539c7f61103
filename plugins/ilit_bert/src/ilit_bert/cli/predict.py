"""``ilit bert predict``: a label and its score for each line of text."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ilit.cli import JsonFlag, only_json, report
from ilit.errors import DataError
from ilit_bert.cli import options

if TYPE_CHECKING:
    from ilit_bert.predict import Prediction

STANDARD_INPUT = Path("-")


def predict(
    model: options.Model,
    file: Annotated[Path, typer.Argument(help="Text, one input a line; standard input by default.")] = STANDARD_INPUT,
    max_length: options.MaxLength = None,
    batch_size: options.BatchSize = 32,
    labels: options.Labels = None,
    as_json: JsonFlag = False,
) -> None:
    """Print a label and its score for each line, separated by a tab.

    A line is a sentence or two sentences separated by a tab; for question answering, a question and its context.
    """
    from ilit_bert import predict as work

    texts = work.read_lines(_lines(file), "standard input" if file == STANDARD_INPUT else str(file))
    with only_json(as_json):
        names = options.label_names(labels)
        predictions = work.predict(model, texts, max_length=max_length, batch_size=batch_size, labels=names)
    data = {"predictions": [asdict(found) for found in predictions]}
    report(data, as_json, lambda _: _show(predictions))


def _show(predictions: list[Prediction]) -> None:
    """Print one line each; rich would turn the tabs into spaces."""
    for found in predictions:
        sys.stdout.write(f"{' '.join(found.label.split())}\t{found.score:.4f}\n")


def _lines(file: Path) -> list[str]:
    """Return the lines of a file or of standard input; a line ends at a line feed and nowhere else."""
    try:
        content = sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); name a text file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
