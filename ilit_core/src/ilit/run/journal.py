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

Older versions are read; ``_CHANGES`` turns their lines into those of this one.

* 1: a probe's line told its kind by the flags ``per_op`` and ``timed``, and held every kind's figures; what was
  against a passed recipe stood in ``reason``.
* 2: a probe's line holds the figures of its kind alone; what is against a passed recipe is ``objection``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal, TypeVar

from ilit.adapter import Cpu, Measurement
from ilit.errors import RunError, one_line
from ilit.evidence.record import Evidence
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpSpeedOutcome, ProbeOutcome

FORMAT_VERSION = 2
ProbeKind = Literal["distance", "op_errors", "op_speeds"]
Line = Mapping[str, Any]
"""One line as JSON, without its checksum."""
Read = TypeVar("Read")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """What decides a run's figures, known before its first request.

    Attributes:
        created: local time, ISO 8601.
        adapter: the framework adapter's name.
        versions: ilit's, Python's and the adapter's versions.
        cpu: what it runs on.
        seed: ``tuning.random_seed``.
        digests: SHA-256 of ``config``, ``calibration`` and, where the adapter gives one, ``model``.
        metric: the metric's name, ``eval_func`` where a function judges.
        criterion: the target in the metric's own terms, one sentence.
        baseline: the float32 model's accuracy.
        target: the accuracy that passes.
        higher_is_better: the metric's direction.
        strategy: its name.
        objective: its name.
        max_trials: the limit.
        ops: quantizable ops in the space.
        recipes: recipes in the space, the exact number.
        left_in_float: module path -> why, of modules that could be quantized by their kind and are no ops; none in a
            journal of an ilit that did not tell.
    """

    created: str
    adapter: str
    versions: Mapping[str, str]
    cpu: Cpu
    seed: int
    digests: Mapping[str, str]
    metric: str
    criterion: str
    baseline: float
    target: float
    higher_is_better: bool
    strategy: str
    objective: str
    max_trials: int
    ops: int
    recipes: int
    left_in_float: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", MappingProxyType(dict(self.versions)))
        object.__setattr__(self, "digests", MappingProxyType(dict(self.digests)))
        object.__setattr__(self, "left_in_float", MappingProxyType(dict(self.left_in_float)))


@dataclass(frozen=True)
class Started:
    """Trial ``trial``, the search's request number ``request``, is about to be lowered."""

    request: int
    trial: int
    digest: str


@dataclass(frozen=True)
class Tried:
    """What request number ``request``, a trial, gave."""

    request: int
    record: TrialRecord


@dataclass(frozen=True)
class Probed:
    """What request number ``request``, a probe of the recipe with this digest, gave."""

    request: int
    digest: str
    outcome: ProbeOutcome
    why: str = ""

    @property
    def kind(self) -> ProbeKind:
        """The kind of figures asked for; follows from the outcome."""
        match self.outcome:
            case DistanceOutcome():
                return "distance"
            case OpErrorOutcome():
                return "op_errors"
            case OpSpeedOutcome():
                return "op_speeds"


@dataclass(frozen=True)
class Finished:
    """The search has ended by itself or by Ctrl-C. ``best`` and ``closest`` are trial numbers."""

    reason: str
    met: bool
    best: int | None = None
    closest: int | None = None
    interrupted: bool = False
    seconds: float = 0.0


Entry = Started | Tried | Probed | Finished


@dataclass(frozen=True)
class Journal:
    """A journal as read. ``torn`` is True where the last line was cut off and dropped."""

    header: Header
    entries: tuple[Entry, ...] = field(default=())
    torn: bool = False


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
    """Return what ``parse`` makes of a record; a sound line that lacks what its kind needs was not written by ilit."""
    try:
        return parse(_upgraded(record, version))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{file}: line {record['n'] + 1} is no record of format version {version} ({one_line(error)}); "
            "use the ilit that wrote it"
        ) from error


def _upgraded(record: Line, version: int) -> Line:
    """Return a line of format version ``version`` as the present version has it."""
    for older in range(version, FORMAT_VERSION):
        for change in _CHANGES[older]:
            record = change(record)
    return record


def _probe_of_one_kind(record: Line) -> Line:
    """Put one kind with its figures in the place of flags and all kinds' figures; ``timed`` won over ``per_op``."""
    if record["kind"] != "probe":
        return record
    figures: dict[str, Any] = {"kind": "distance", "distance": record["distance"]}
    if record["per_op"]:
        figures = {"kind": "op_errors", "errors": record["ops"]}
    if record.get("timed", False):
        figures = {"kind": "op_speeds", "speedups": record["speedups"]}
    place = {name: record[name] for name in ("n", "kind", "request", "digest", "why")}
    return {**place, "probe": {**figures, "reason": record["reason"]}}


def _objection_of_its_own(record: Line) -> Line:
    """Put what was against a passed recipe into ``objection``, and leave ``reason`` to failures."""
    if record["kind"] != "trial":
        return record
    trial = record["trial"]
    passed = trial["status"] == "passed"
    parts = ("", trial["reason"] or None) if passed else (trial["reason"], None)
    return {**record, "trial": {**trial, "reason": parts[0], "objection": parts[1]}}


_CHANGES: Mapping[int, tuple[Callable[[Line], Line], ...]] = {1: (_probe_of_one_kind, _objection_of_its_own)}
"""Format version -> the steps, in order, that turn one of its lines into one of the next version."""


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
    """Read what ``trial_to_json`` wrote, of this or an older ilit, whose records have no rows and no evidence."""
    costs = {key: None if data[key] is None else Measurement(**data[key]) for key in ("cost", "float_cost")}
    found = data.get("evidence")
    evidence = None if found is None else Evidence(**_renamed_evidence(found))
    return TrialRecord(**{**data, **costs, "evidence": evidence, "recipe": Recipe.from_json(data["recipe"])})


def _renamed_evidence(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an ``Evidence`` by their present names, ``gained``, ``lost`` and ``comparisons``."""
    present = {"fixed": "gained", "broken": "lost", "looks": "comparisons"}
    return {present.get(name, name): value for name, value in body.items()}


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN: both are written as null."""
    return float(value) if math.isfinite(value) else None


def _figure(value: float | None) -> float:
    return math.inf if value is None else value
