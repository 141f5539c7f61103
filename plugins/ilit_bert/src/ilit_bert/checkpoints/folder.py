"""The folder a tuned model is saved in: what may be overwritten, whether it can be written, and the saving."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ilit.errors import ArtefactError
from ilit.run import CLOSEST, write_beside
from ilit_pytorch import add_files

RECIPE = "recipe.json"


def is_tuned(source: str | Path) -> bool:
    """Return whether ``source`` is a folder that a tuned model was saved in."""
    return (Path(source) / RECIPE).is_file()


def closest_folder(output: Path) -> Path:
    """Return the folder for the closest model where none passed, so that ``output`` never holds one that missed."""
    return output.with_name(f"{output.name}-{CLOSEST}")


def check_output(output: Path) -> None:
    """Check that a model can be saved in ``output`` and overwrites nothing but an older tuned model.

    Raises:
        ArtefactError: it is a file, or a folder with anything else in it, or cannot be made there.
    """
    if not output.name or output.name == "..":
        raise ArtefactError(f"{output}: no folder of this name can be replaced; name a new folder for the tuned model")
    for folder in (output, closest_folder(output)):
        with _named_errors(folder):
            if folder.exists() and not folder.is_dir():
                raise ArtefactError(f"{folder}: is a file; name a new folder for the tuned model")
            if folder.is_dir() and any(folder.iterdir()) and not is_tuned(folder):
                raise ArtefactError(f"{folder}: is not empty and holds no tuned model; name a new or empty folder")
        check_writable(folder)


def check_writable(folder: Path) -> None:
    """Check that ``folder`` can be made or replaced, by making one beside it with a file in it; nothing is left.

    Permissions alone do not tell: root may write everywhere but on a read-only disk or in ``/proc``.

    Raises:
        ArtefactError: it cannot, with the reason.
    """
    final = folder.absolute()
    beside = final.with_name(f".{final.name}.new")  # where the model will be written before it is renamed
    with _named_errors(folder), contextlib.ExitStack() as undo:
        if final.is_symlink() and not final.exists():
            raise ArtefactError(f"{folder}: is a link to nothing; remove it, or name another folder")
        if final.is_mount():
            raise ArtefactError(f"{folder}: is where a disk is mounted, which cannot be replaced; name a folder in it")
        for parent in reversed([parent for parent in beside.parents if not parent.exists()]):
            undo.callback(_remove_if_empty, parent)
        undo.callback(shutil.rmtree, beside, ignore_errors=True)
        beside.mkdir(parents=True, exist_ok=True)
        (beside / "try").write_bytes(b"\0")


@contextlib.contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into an ``ArtefactError`` that names the folder."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name is possible"
        raise ArtefactError(f"{folder}: cannot be written ({why}); name another folder") from error


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def save_tuned(artefact: Path, output: Path, tokenizer: Any, note: str) -> None:
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
        before = {file.name for file in folder.iterdir()}
        tokenizer.save_pretrained(folder)
        add_files(folder, sorted(file.name for file in folder.iterdir() if file.is_file() and file.name not in before))
        with (folder / "README.md").open("a", encoding="utf-8") as card:
            card.write(note)

    write_beside(output.absolute(), write)
