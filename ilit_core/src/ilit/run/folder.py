"""The run folder: its name, its files, its lock, and how files get there whole.

| file | what |
|---|---|
| ``config.yaml`` | the configuration as resolved, every default filled in |
| ``journal.jsonl`` | header and records (``journal.py``) |
| ``calibration.safetensors`` | the statistics every recipe was lowered with |
| ``predictions/`` | every complete evaluation's predictions (``predictions.py``) |
| ``front.json`` | the Pareto front of the accepted recipes (``front.py``) |
| ``best/``, ``closest/`` | the best accepted model, or the one that came nearest |
| ``best-unverified/`` and the like | a model that, read back, was not the one written |
| ``log.txt`` | everything the logger ``ilit`` said (``log.py``) |
| ``lock`` | held by the process that writes the folder |
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import filelock

from ilit.errors import ArtefactError, RunError

JOURNAL, CONFIG, LOCK, LOG = "journal.jsonl", "config.yaml", "lock", "log.txt"
CALIBRATION, BEST, CLOSEST, FRONT_MODELS = "calibration.safetensors", "best", "closest", "front"
UNVERIFIED = "-unverified"


@dataclass(frozen=True)
class Clock:
    """Where times come from, so that a test can give its own.

    Attributes:
        now: the local time, for names and headers.
        seconds: a monotonic clock, for budgets and durations.
    """

    now: Callable[[], datetime] = field(default=datetime.now)
    seconds: Callable[[], float] = field(default=time.monotonic)


def try_folder(parent: Path) -> None:
    """See whether run folders can be made in ``parent``, which need not be there yet, and leave nothing behind.

    Raises:
        RunError: they cannot.
    """
    place = parent.absolute()
    try:
        if b"\0" in str(parent).encode():  # which fails where nothing could name it: no log, no library
            raise ValueError("a NUL in a name")
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.TemporaryDirectory(dir=place):
            pass
    except (OSError, ValueError) as error:
        raise _no_folder(parent, error) from error


def _no_folder(parent: Path, error: OSError | ValueError) -> RunError:
    why = error.strerror if isinstance(error, OSError) else "no such name is possible"
    return RunError(f"run.folder {ascii(str(parent))[1:-1]}: cannot be written ({why}); name another folder")


def create_folder(parent: Path, config_text: str, now: datetime) -> Path:
    """Create a run folder that was not there before and write ``config.yaml`` into it.

    Its name is the time and eight digits of the config's digest, ``2026-11-23_21-27-05_3f2a90c1``; a number is
    added where another run took that name in the same second.

    Raises:
        RunError: the folder cannot be created.
    """
    name = f"{now:%Y-%m-%d_%H-%M-%S}_{hashlib.sha256(config_text.encode()).hexdigest()[:8]}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = _first_free(parent / name)
        (folder / CONFIG).write_text(config_text, encoding="utf-8")
    except OSError as error:
        raise _no_folder(parent, error) from error
    return folder


def _first_free(wanted: Path) -> Path:
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def lock_folder(folder: Path) -> filelock.BaseFileLock:
    """Return the folder's lock, held; release it when the run is over.

    Raises:
        RunError: another process, or another run of this one, holds it.
    """
    (folder / LOCK).touch()
    lock = _lock(folder)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(f"{folder}: another process is writing this run; wait for it to end, or name another") from error
    return lock


def _lock(folder: Path) -> filelock.BaseFileLock:
    """Return the lock of a folder that has one, with the mode it has: older releases of filelock set another."""
    file = folder / LOCK
    return filelock.FileLock(file, timeout=0, mode=stat.S_IMODE(file.stat().st_mode))


def write_beside(final: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a new folder beside ``final``, then rename it, so that ``final`` is never half written.

    A ``final`` that is there already is replaced, and only once the new one is complete.

    Raises:
        ArtefactError: the disk does not take it.
    """
    beside, old = final.with_name(f".{final.name}.new"), _old(final)
    try:
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
        beside.mkdir(parents=True)
        write(beside)
        move_into_place(beside, final)
    except OSError as error:
        raise ArtefactError(f"{final}: cannot be written ({error.strerror}); free some space") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _old(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def move_into_place(beside: Path, final: Path) -> None:
    """Rename a complete file or folder to ``final`` beside it, once all of its content is on the disk.

    A file replaces one that is there; a folder that is there is renamed to ``.NAME.old``.

    Raises:
        OSError: the disk does not take it.
    """
    for file in [beside] if beside.is_file() else [path for path in beside.rglob("*") if path.is_file()]:
        _sync(file)
    if beside.is_dir() and final.exists():
        final.rename(_old(final))
    beside.replace(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a process writes the folder; where we may not even open the lock, nobody here does."""
    if not (folder / LOCK).exists():
        return False
    try:
        with _lock(folder):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False
