"""The file of a split in a task's folder."""

from __future__ import annotations

from pathlib import Path

from ilit.errors import DataError
from ilit_bert.tasks.table import Split, Task


def split_file(task: Task, data_dir: str | Path, split: Split) -> Path:
    """Return the path of a split's file.

    Raises:
        DataError: it is missing; says what the split is for and, where the files lie one folder deeper, says so.
    """
    folder = Path(data_dir)
    path = folder / task.file(split)
    if path.is_file():
        return path
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; name the one that holds {task.name}'s {task.file(split)}")
    purpose = "calibration takes its rows from the training split" if split == "train" else "it is evaluated on"
    deeper = next((child for child in (folder / task.name, folder / task.name.upper()) if child.is_dir()), None)
    cure = f"did you mean the folder {deeper}?" if deeper else f"the folder holds {_listing(folder)}"
    raise DataError(f"{path}: is missing ({purpose}); {cure}")


def _listing(folder: Path) -> str:
    """Return the names of the folder's first files."""
    names = sorted(entry.name for entry in folder.iterdir())
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) if names else "nothing"
