"""The folder a tuned model is kept in: what may be overwritten, and how it gets there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ilit.errors import ArtefactError
from ilit.run import CLOSEST, write_beside

RECIPE = "recipe.json"


def is_tuned(source: str | Path) -> bool:
    """Return whether ``source`` is a folder that a tuned model was saved in."""
    return (Path(source) / RECIPE).is_file()


def closest_folder(output: Path) -> Path:
    """Return where the closest model is kept when none passed, so that ``output`` never holds one that missed."""
    return output.with_name(f"{output.name}-{CLOSEST}")


def check_output(output: Path) -> None:
    """Make sure that keeping a model in ``output`` overwrites nothing but an older tuned model.

    Raises:
        ArtefactError: it is a file, or a folder with anything else in it.
    """
    for folder in (output, closest_folder(output)):
        if folder.exists() and not folder.is_dir():
            raise ArtefactError(f"{folder}: is a file; name a new folder for the tuned model")
        if folder.is_dir() and any(folder.iterdir()) and not is_tuned(folder):
            raise ArtefactError(f"{folder}: is not empty and holds no tuned model; name a new or empty folder")


def keep(artefact: Path, output: Path, tokenizer: Any, note: str) -> None:
    """Copy a saved model to ``output`` with its tokenizer: beside it first, then renamed.

    Args:
        artefact: the folder the adapter saved the model in; left as it is.
        output: replaced where it holds an older tuned model.
        tokenizer: written so that the folder needs nothing else.
        note: Markdown added to the model card.

    Raises:
        ArtefactError: the disk does not take it.
    """

    def write(folder: Path) -> None:
        shutil.copytree(artefact, folder, dirs_exist_ok=True)
        tokenizer.save_pretrained(folder)
        with (folder / "README.md").open("a", encoding="utf-8") as card:
            card.write(note)

    write_beside(output.absolute(), write)
