"""The journal: what is written is read back, a torn end is dropped, damage is refused by line."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ilit.adapter import Cpu, Measurement
from ilit.errors import RunError
from ilit.evidence.record import Evidence
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.result import TrialRecord
from ilit.run.journal import JournalWriter, read_journal
from ilit.run.records import Finished, Header, Journal, Probed, Started, Tried
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpSpeedOutcome

DATA = Path(__file__).parents[2] / "data"
INT8 = OpConfig("int8", "static", QuantSpec(granularity="per_channel"), QuantSpec("uint8", "asym"))
RECIPE = Recipe({"a": INT8, "b": FLOAT32}, "128 rows", {"smooth": 0.7})
HEADER = Header(
    created="2026-11-23T21:27:05",
    adapter="fake",
    versions={"ilit": "0.1.0", "python": "3.11.7"},
    cpu=Cpu("a CPU", "avx2", "A", 2),
    seed=9527,
    digests={"config": "c" * 64, "calibration": "d" * 64},
    metric="f1",
    criterion="1 % relative of 0.9042: at least 0.8952",
    baseline=0.9042,
    target=0.895158,
    higher_is_better=True,
    strategy="basic",
    objective="performance",
    max_trials=100,
    ops=2,
    recipes=10**5000,
)
PASSED = TrialRecord(
    1, RECIPE, "passed", 0.9, "", "model-wise", 1.5, Measurement(0.001, 100, 50), Measurement(0.002, 400, 60), 7
)
ENTRIES = (
    Probed(1, RECIPE.digest, OpErrorOutcome({"a": 0.125}), "first look"),
    Probed(2, RECIPE.digest, DistanceOutcome(math.inf, "engine: no")),
    Started(3, 1, RECIPE.digest),
    Tried(3, PASSED),
    Started(4, 2, RECIPE.digest),
    Tried(4, TrialRecord(2, RECIPE, "failed", reason="ümlaut\nand more")),
    Finished("the criterion is met after 2 trials", True, 1, 1, False, 12.5),
)

PROOF = Evidence(
    1725, 12, 15, 0.7, 0.0031, 0.0087, 0.95, 0.01, "tango", 2, holdout=True, units_needed=6900, relative=True
)
SMOOTHED = RECIPE.with_ops({"a": replace(INT8, smoothing=0.7)})
# What tests/data/journal-v2.jsonl holds: every kind of line and of probe, evidence, an objection, a second record.
HEADER_2 = replace(
    HEADER,
    digests={**HEADER.digests, "model": "e" * 64},
    recipes=10**30,
    left_in_float={"layer1": "its forward was replaced"},
)
ENTRIES_2 = (
    Probed(1, RECIPE.digest, DistanceOutcome(0.25), "how far"),
    Probed(2, RECIPE.digest, DistanceOutcome(math.inf, "engine: no")),
    Probed(3, RECIPE.digest, OpErrorOutcome({"a": 0.125, "b": math.inf}), "how wrong"),
    Probed(4, RECIPE.digest, OpErrorOutcome({}, "engine: no")),
    Probed(5, RECIPE.digest, OpSpeedOutcome({"a": 1.5}), "how fast"),
    Probed(6, RECIPE.digest, OpSpeedOutcome({}, "engine: no")),
    Started(7, 1, SMOOTHED.digest),
    Tried(7, TrialRecord(1, SMOOTHED, "pruned", 0.861, why="smoothed", seconds=0.5, int8_kernels=1, rows=512)),
    Started(8, 2, RECIPE.digest),
    Tried(8, replace(PASSED, number=2, rows=1725, evidence=PROOF, objection="performance: slower")),
    Started(9, 3, RECIPE.digest),
    Tried(9, TrialRecord(3, RECIPE, "failed", reason="ümlaut\nand more")),
    Tried(7, TrialRecord(1, SMOOTHED, "missed", 0.851, rows=1725, evidence=replace(PROOF, units_needed=None))),
    Finished("2 trials, the limit", False, None, 1, True, 12.5),
)


def written(folder: Path) -> Path:
    """Write a journal with every kind of record and return its file."""
    file = folder / "journal.jsonl"
    file.unlink(missing_ok=True)
    writer = JournalWriter(file, HEADER)
    for entry in ENTRIES:
        writer.append(entry)
    writer.close()
    return file


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a journal with every kind of record."""
    return written(tmp_path_factory.mktemp("sound")).read_bytes()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Header and records come back equal, infinite distances and huge spaces included."""
    assert read_journal(written(tmp_path)) == Journal(HEADER, ENTRIES)


def test_version_2_stays_readable(tmp_path: Path) -> None:
    """The file in tests/data holds every kind of line and is read as it was meant; written anew it reads the same."""
    writer = JournalWriter(tmp_path / "journal.jsonl", HEADER_2)
    for entry in ENTRIES_2:
        writer.append(entry)
    writer.close()
    assert read_journal(DATA / "journal-v2.jsonl") == Journal(HEADER_2, ENTRIES_2)
    assert read_journal(tmp_path / "journal.jsonl") == Journal(HEADER_2, ENTRIES_2)


@pytest.mark.parametrize(
    ("outcome", "kind", "figures"),
    [
        (DistanceOutcome(0.25), "distance", {"distance": 0.25, "reason": ""}),
        (DistanceOutcome(math.inf, "engine: no"), "distance", {"distance": None, "reason": "engine: no"}),
        (OpErrorOutcome({"a": 0.5, "b": math.inf}), "op_errors", {"errors": {"a": 0.5, "b": None}, "reason": ""}),
        (OpErrorOutcome({}, "engine: no"), "op_errors", {"errors": {}, "reason": "engine: no"}),
        (OpSpeedOutcome({"a": 1.5}), "op_speeds", {"speedups": {"a": 1.5}, "reason": ""}),
        (OpSpeedOutcome({}, "engine: no"), "op_speeds", {"speedups": {}, "reason": "engine: no"}),
    ],
    ids=["distance", "no distance", "errors", "no errors", "speeds", "no speeds"],
)
def test_a_probe_has_its_kind_and_figures_alone(tmp_path: Path, outcome: Any, kind: str, figures: Any) -> None:
    """Each kind is told by name and comes back as it was, whether it has figures or failed."""
    file = tmp_path / "journal.jsonl"
    writer, probed = JournalWriter(file, HEADER), Probed(1, RECIPE.digest, outcome, "a look")
    writer.append(probed)
    writer.close()
    assert read_journal(file).entries == (probed,)
    assert probed.kind == kind
    assert json.loads(file.read_text().splitlines()[1])["probe"] == {"kind": kind, **figures}


def test_what_stays_in_float_is_read_back(tmp_path: Path) -> None:
    """It is in the header; the journals of an ilit that did not tell have none."""
    header = replace(HEADER, left_in_float={"layer1": "its forward was replaced"})
    JournalWriter(tmp_path / "journal.jsonl", header).close()
    assert read_journal(tmp_path / "journal.jsonl").header == header
    assert read_journal(DATA / "journal-v1.jsonl").header.left_in_float == {}


def test_every_line_is_json_with_a_number_and_a_checksum(tmp_path: Path) -> None:
    """Any tool can read the file: strict JSON, numbered from 0, one record a line."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in written(tmp_path).read_text().splitlines()]
    assert [line["n"] for line in lines] == list(range(len(ENTRIES) + 1))
    assert all(len(line["sha256"]) == 64 for line in lines)
    assert [line["kind"] for line in lines[1:4]] == ["probe", "probe", "started"]


def test_a_record_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    """A reader sees each record before the writer is closed."""
    writer = JournalWriter(tmp_path / "journal.jsonl", HEADER)
    writer.append(ENTRIES[0])
    assert read_journal(tmp_path / "journal.jsonl").entries == ENTRIES[:1]
    writer.close()


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1))
def test_a_torn_end_is_dropped(tmp_path: Path, sound: bytes, share: float) -> None:
    """Cut anywhere after the header, the file gives exactly the records whose lines are whole."""
    file, data = tmp_path / "journal.jsonl", sound
    header_ends = data.index(b"\n") + 1
    cut = header_ends + int(share * (len(data) - header_ends))
    file.write_bytes(data[:cut])

    journal = read_journal(file)

    whole = data[:cut].count(b"\n") - 1
    assert journal.entries == ENTRIES[:whole]
    assert journal.torn is (not data[:cut].endswith(b"\n"))


def test_a_torn_end_is_said_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Dropping a line is a log line with its number."""
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING, logger="ilit"):
        read_journal(file)
    assert f"line {len(ENTRIES) + 1} was cut off" in caplog.text


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_damage_is_refused_by_line(tmp_path: Path, sound: bytes, share: float, bit: int) -> None:
    """One flipped bit anywhere before the last line feed is an error that names the line it is in."""
    file, data = tmp_path / "journal.jsonl", bytearray(sound)
    place = int(share * (len(data) - 1))
    line = data[:place].count(b"\n") + 1
    data[place] ^= 1 << bit
    file.write_bytes(data)

    with pytest.raises(RunError, match=rf"line {line} is damaged; restore the file from a copy"):
        read_journal(file)


def test_a_missing_line_is_damage(tmp_path: Path) -> None:
    """Each line is sound by itself, so the running number has to tell that one is gone."""
    file = written(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(RunError, match="line 3 is damaged"):
        read_journal(file)


@pytest.mark.parametrize("content", [b"", b'{"n":0,"ki'], ids=["empty", "torn header"])
def test_no_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    """A run that died before its header has nothing to show, and says so."""
    file = tmp_path / "journal.jsonl"
    file.write_bytes(content)
    with pytest.raises(RunError, match="has no header, so the run ended before it began"):
        read_journal(file)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    """A folder that is no run folder is named."""
    with pytest.raises(RunError, match=r"journal.jsonl: the journal cannot be read .*is this a run folder"):
        read_journal(tmp_path / "journal.jsonl")


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound file of a later version is not half read."""
    with monkeypatch.context() as later:
        later.setattr("ilit.run.journal.FORMAT_VERSION", 3)
        file = written(tmp_path)
    with pytest.raises(RunError, match="line 1: format version 3, this ilit reads 1 to 2;"):
        read_journal(file)


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("dream", {}, "unknown kind 'dream'"),
        (
            "probe",
            {"request": 1, "digest": "", "why": "", "probe": {"kind": "op_dreams"}},
            "unknown kind of probe 'op_dreams'",
        ),
    ],
)
def test_an_unknown_record_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, body: Any, text: str
) -> None:
    """A sound line of a kind this version does not know is an error with its line, never skipped."""
    with monkeypatch.context() as other:
        other.setattr("ilit.run.journal._entry_to_json", lambda entry: (kind, body))
        file = tmp_path / "journal.jsonl"
        writer = JournalWriter(file, HEADER)
        writer.append(ENTRIES[0])
        writer.close()
    with pytest.raises(RunError, match=rf"line 2 is no record of format version 2 .*{text}"):
        read_journal(file)


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    """A second writer of the same file is refused."""
    file = written(tmp_path)
    with pytest.raises(RunError, match="cannot be created"):
        JournalWriter(file, HEADER)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk refuses is said with the file and the cure."""
    writer = JournalWriter(tmp_path / "journal.jsonl", HEADER)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\); free some space"):
        writer.append(ENTRIES[0])
    writer.close()


def test_evidence_is_written_by_its_present_names(tmp_path: Path) -> None:
    """A line has the names of the fields."""
    found = Evidence(1725, 12, 15, 0.7, 0.0031, 0.0087, 0.95, 0.01, "tango", 2)
    writer = JournalWriter(tmp_path / "journal.jsonl", HEADER)
    writer.append(Tried(1, replace(PASSED, evidence=found)))
    writer.close()
    line = json.loads((tmp_path / "journal.jsonl").read_text().splitlines()[1])
    written = line["trial"]["evidence"]
    assert (written["gained"], written["lost"], written["comparisons"]) == (12, 15, 2)
    assert not {"fixed", "broken", "looks"} & written.keys()


def test_version_1_stays_readable() -> None:
    """The file in tests/data was written when the format was new and is read as it was meant."""
    journal = read_journal(DATA / "journal-v1.jsonl")
    assert journal == Journal(replace(HEADER, recipes=10**30), ENTRIES)
