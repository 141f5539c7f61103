"""``journal.jsonl``: what a run found out, one checked record a line, on disk before the search goes on.

Format version 2. Every line is one JSON object in canonical form (keys sorted, no spaces, ASCII) with

* ``n``: the running number of the line, 0 for the header;
* ``kind``: ``header``, ``started``, ``trial``, ``probe`` or ``finished``;
* ``sha256``: 64 hex digits over the canonical JSON of the line without this key.

``started`` comes before each trial, so that a process that dies in a recipe leaves that recipe's digest behind.
A trial's later record replaces its earlier one: its evaluation was stopped early and then completed, or it was judged
on held-out rows.
A probe's figures are under ``probe``, with their ``kind``: ``distance``, ``op_errors`` or ``op_speeds``.
A line is whole only with its line feed: what follows the last one is a torn write and is dropped with a warning in
the log. Damage anywhere else is refused, and the line named.

Older versions are read; ``upgrades.py`` turns their lines into those of this one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

from ilit.adapter import Cpu, Measurement
from ilit.errors import RunError, one_line
from ilit.evidence.record import Evidence
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.run.records import Entry, Finished, Header, Journal, Probed, Started, Tried
from ilit.run.upgrades import Line, upgraded
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpSpeedOutcome, ProbeOutcome

FORMAT_VERSION = 2
Read = TypeVar("Read")
_log = logging.getLogger(__name__)


class JournalWriter:
    """Appends records. Each is flushed to the disk before the method returns."""

    def __init__(self, file: Path, header: Header) -> None:
        """Create ``file`` with its header.

        Raises:
            RunError: the file is there already, or cannot be written.
        """
        self._name, self._count = file, 0
        try:
            self._stream: IO[bytes] = file.open("xb")
        except OSError as error:
            raise RunError(
                f"{file}: the journal cannot be created ({error.strerror}); choose another run.folder"
            ) from error
        self._append("header", _header_to_json(header))

    def append(self, entry: Entry) -> None:
        """Write one record.

        Raises:
            RunError: the disk does not take it.
        """
        kind, body = _entry_to_json(entry)
        self._append(kind, body)

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._stream.close()

    def _append(self, kind: str, body: dict[str, Any]) -> None:
        record = {"n": self._count, "kind": kind, **body}
        try:
            self._stream.write(_canonical({**record, "sha256": _checksum(record)}) + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise RunError(f"{self._name}: the record cannot be written ({error.strerror}); free some space") from error
        self._count += 1


def read_journal(file: Path) -> Journal:
    """Read a journal of this or an older format version.

    Raises:
        RunError: no such file, no header, a newer format version, or a damaged line, by number.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RunError(f"{file}: the journal cannot be read ({error.strerror}); is this a run folder?") from error
    *lines, rest = data.split(b"\n")
    if rest:
        _log.warning("%s: line %d was cut off while it was written; dropped", file, len(lines) + 1)
    records = [_checked(line, number, file) for number, line in enumerate(lines)]
    if not records:
        raise RunError(f"{file}: the journal has no header, so the run ended before it began; remove the folder")
    version = records[0]["version"]
    header = _read(_header_from_json, records[0], version, file)
    entries = tuple(_read(_entry_from_json, record, version, file) for record in records[1:])
    return Journal(header, entries, torn=bool(rest))


def _checked(line: bytes, number: int, file: Path) -> dict[str, Any]:
    """Return the record on one line if its checksum, running number and version are right."""
    try:
        record = json.loads(line)
        checksum = record.pop("sha256")
        sound = line == _canonical({**record, "sha256": checksum}) and checksum == _checksum(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound or record.get("n") != number:
        raise RunError(f"{file}: line {number + 1} is damaged; restore the file from a copy, or start a new run")
    if number == 0 and record.get("version") not in range(1, FORMAT_VERSION + 1):
        raise RunError(
            f"{file}: line 1: format version {record.get('version')!r}, this ilit reads 1 to {FORMAT_VERSION}; "
            "use the ilit that wrote it"
        )
    return dict(record)


def _read(parse: Callable[[Line], Read], record: Line, version: int, file: Path) -> Read:
    """Parse a record; a sound line that lacks what its kind needs was not written by ilit."""
    try:
        return parse(upgraded(record, version, FORMAT_VERSION))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{file}: line {record['n'] + 1} is no record of format version {version} ({one_line(error)}); "
            "use the ilit that wrote it"
        ) from error


def _canonical(record: Line) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checksum(record: Line) -> str:
    return hashlib.sha256(_canonical(record)).hexdigest()


def _header_to_json(header: Header) -> dict[str, Any]:
    body = {name: getattr(header, name) for name in Header.__dataclass_fields__}
    plain = {name: dict(getattr(header, name)) for name in ("versions", "digests", "left_in_float")}
    # Hexadecimal, since Python refuses to read or write a decimal integer of more than 4300 digits.
    return {**body, **plain, "cpu": asdict(header.cpu), "recipes": hex(header.recipes), "version": FORMAT_VERSION}


def _header_from_json(record: Line) -> Header:
    record = {"left_in_float": {}, **record}
    fields = {name: record[name] for name in Header.__dataclass_fields__}
    return Header(**{**fields, "cpu": Cpu(**record["cpu"]), "recipes": int(record["recipes"], 16)})


def _entry_to_json(entry: Entry) -> tuple[str, dict[str, Any]]:
    match entry:
        case Started():
            return "started", asdict(entry)
        case Tried(request, record):
            return "trial", {"request": request, "digest": record.recipe.digest, "trial": trial_to_json(record)}
        case Probed(request, digest, outcome, why):
            figures = {"kind": entry.kind, **_probe_to_json(outcome)}
            return "probe", {"request": request, "digest": digest, "why": why, "probe": figures}
        case Finished():
            return "finished", asdict(entry)


def _entry_from_json(record: Line) -> Entry:
    body = {key: value for key, value in record.items() if key not in ("n", "kind")}
    match record["kind"]:
        case "started":
            return Started(**body)
        case "trial":
            return Tried(body["request"], trial_from_json(body["trial"]))
        case "probe":
            return Probed(body["request"], body["digest"], _probe_from_json(body["probe"]), body["why"])
        case "finished":
            return Finished(**body)
        case kind:
            raise ValueError(f"unknown kind {kind!r}")


def _probe_to_json(outcome: ProbeOutcome) -> dict[str, Any]:
    match outcome:
        case DistanceOutcome(distance, reason):
            return {"distance": _finite(distance), "reason": reason}
        case OpErrorOutcome(errors, reason):
            return {"errors": {name: _finite(value) for name, value in errors.items()}, "reason": reason}
        case OpSpeedOutcome(speedups, reason):
            return {"speedups": {name: _finite(value) for name, value in speedups.items()}, "reason": reason}


def _probe_from_json(data: Mapping[str, Any]) -> ProbeOutcome:
    match data["kind"]:
        case "distance":
            return DistanceOutcome(_figure(data["distance"]), data["reason"])
        case "op_errors":
            return OpErrorOutcome({name: _figure(value) for name, value in data["errors"].items()}, data["reason"])
        case "op_speeds":
            return OpSpeedOutcome({name: _figure(value) for name, value in data["speedups"].items()}, data["reason"])
        case kind:
            raise ValueError(f"unknown kind of probe {kind!r}")


def trial_to_json(record: TrialRecord) -> dict[str, Any]:
    """Return a JSON object that ``trial_from_json`` reads back to an equal value."""
    body = {name: getattr(record, name) for name in TrialRecord.__dataclass_fields__}
    parts = {key: None if body[key] is None else asdict(body[key]) for key in ("cost", "float_cost", "evidence")}
    return {**body, **parts, "recipe": record.recipe.to_json()}


def trial_from_json(data: Mapping[str, Any]) -> TrialRecord:
    """Read what ``trial_to_json`` wrote; records of an older ilit have no rows and no evidence."""
    costs = {key: None if data[key] is None else Measurement(**data[key]) for key in ("cost", "float_cost")}
    found = data.get("evidence")
    evidence = None if found is None else Evidence(**found)
    return TrialRecord(**{**data, **costs, "evidence": evidence, "recipe": Recipe.from_json(data["recipe"])})


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN: both are written as null."""
    return float(value) if math.isfinite(value) else None


def _figure(value: float | None) -> float:
    return math.inf if value is None else value
