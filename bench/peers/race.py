"""What the three tools' scripts share: the arguments, the rows, the score, the clock and the one line of JSON.

Needs the standard library, numpy and torch only, so that it runs in each tool's own environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ISA_LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "FBGEMM_ENABLE_INSTRUCTIONS",
)
"""Environment variables by which ``run.py --avx2`` makes a wider CPU do an AVX2 CPU's arithmetic."""


@dataclass(frozen=True)
class Task:
    """What a tool is to do.

    Attributes:
        checkpoint: a BERT sequence classifier's folder.
        data: the folder with MRPC's ``train.tsv`` and ``dev.tsv``.
        rows: the ``.npz`` that ``rows.py`` wrote.
        pairs: evaluate on the first so many rows of the dev split.
        calibration: rows of the training split to calibrate on.
        batch_size: rows of a batch.
        relative: tolerated loss of F1, a fraction of float32's.
        threads: threads, and CPUs that the process is kept on.
        passes: passes over the evaluation rows that each of float32 and INT8 is timed on.
    """

    checkpoint: Path
    data: Path
    rows: Path
    pairs: int
    calibration: int
    batch_size: int
    relative: float
    threads: int
    passes: int


@dataclass(frozen=True)
class Outcome:
    """What a tool made of it; printed as one line of JSON.

    Attributes:
        tool: its name.
        seconds: wall time of the tuning, from the call to its result.
        evaluations: evaluations of all rows.
        evaluated_rows: rows run for evaluation in all, single batches included.
        evaluation_seconds: wall time inside the evaluations, None where it cannot be seen from outside.
        float32: F1 of the float32 model.
        score: F1 of the tuned model, evaluated once more after the tuning; None where there is none.
        passed: whether that is within the tolerated loss.
        linears: Linears of the model.
        linears_float: those that do not run in INT8, and the dtype they run in.
        float32_seconds: median of a pass over the evaluation rows in float32.
        int8_seconds: the same of the tuned model, from interleaved passes.
        rows: digest of the rows as the tool saw them.
        versions: of what decides the figures.
        cpu: model, instruction sets, limits set on them, threads.
        details: what only this tool has to say.
    """

    tool: str
    seconds: float
    evaluations: int
    evaluated_rows: int
    evaluation_seconds: float | None
    float32: float
    score: float | None
    passed: bool
    linears: int
    linears_float: dict[str, str]
    float32_seconds: float
    int8_seconds: float | None
    rows: str
    versions: dict[str, str]
    cpu: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def speedup(self) -> float | None:
        """How much faster INT8 is than this tool's own float32."""
        return self.float32_seconds / self.int8_seconds if self.int8_seconds else None

    def print(self) -> None:
        """Write the line."""
        print(json.dumps({**asdict(self), "speedup": self.speedup}), flush=True)


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all three scripts take."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--checkpoint", type=Path, required=True)
    made.add_argument("--data", type=Path, required=True, help="folder with MRPC's train.tsv and dev.tsv")
    made.add_argument("--rows", type=Path, required=True, help="file that rows.py wrote")
    made.add_argument("--pairs", type=int, default=512)
    made.add_argument("--calibration", type=int, default=128)
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--relative", type=float, default=0.01)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--passes", type=int, default=3)
    return made


def task_of(arguments: argparse.Namespace) -> Task:
    """Return the task, and keep the process on as many CPUs as it has threads; call before torch is imported."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-arguments.threads :])
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    return Task(**{name: getattr(arguments, name) for name in Task.__dataclass_fields__})


def read_rows(file: Path, split: str) -> list[tuple[dict[str, Any], Any]]:
    """Return a split's batches, ``evaluation`` or ``calibration``, as ``(inputs, labels)`` of int64 arrays."""
    import numpy as np

    with np.load(file) as archive:
        batches: dict[int, dict[str, Any]] = {}
        for key in archive.files:
            part, number, name = key.split(".")
            if part == split:
                batches.setdefault(int(number), {})[name] = archive[key]
    return [(inputs, inputs.pop("labels")) for _, inputs in sorted(batches.items())]


def digest(*loaders: Iterable[tuple[Any, Any]]) -> str:
    """Return 16 hex digits that stand for all inputs and labels in their order; arrays and CPU tensors alike."""
    import numpy as np

    sha = hashlib.sha256()
    for loader in loaders:
        for inputs, labels in loader:
            for name, value in (*sorted(inputs.items()), ("labels", labels)):
                array = np.ascontiguousarray(np.asarray(value), dtype=np.int64)
                sha.update(f"{name}{array.shape}".encode() + array.tobytes())
    return sha.hexdigest()[:16]


def f1(predictions: Sequence[Any], labels: Sequence[Any]) -> float:
    """Return F1 of class 1 from batches of predicted and true classes."""
    import numpy as np

    said, true = np.concatenate(predictions) == 1, np.concatenate(labels) == 1
    wrong = int((said != true).sum())
    right = int((said & true).sum())
    return 2 * right / (2 * right + wrong) if right else 0.0


def score(classify: Callable[[Any], Any], batches: Iterable[tuple[Any, Any]]) -> float:
    """Return F1 of what ``classify(inputs)`` says, logits ``(rows, 2)`` a batch."""
    import numpy as np

    predictions, labels = [], []
    for inputs, truth in batches:
        predictions.append(np.asarray(classify(inputs)).argmax(axis=-1))
        labels.append(np.asarray(truth))
    return f1(predictions, labels)


@dataclass
class Evaluations:
    """Counts and times what a tool evaluates.

    Attributes:
        rows_of_all: rows of a full evaluation.
        full: evaluations of that many rows.
        rows: rows run in all.
        seconds: wall time of it.
    """

    rows_of_all: int
    full: int = 0
    rows: int = 0
    seconds: float = 0.0

    def count(self, rows: int, seconds: float) -> None:
        """Add one evaluation."""
        self.full += rows == self.rows_of_all
        self.rows += rows
        self.seconds += seconds


@dataclass(frozen=True)
class Judged:
    """Scores and seconds of float32 and INT8, from interleaved passes over the evaluation rows."""

    float32: float
    int8: float | None
    float32_seconds: float
    int8_seconds: float | None


def judge(
    float32: Callable[[Any], Any], int8: Callable[[Any], Any] | None, batches: Sequence[tuple[Any, Any]], passes: int
) -> Judged:
    """Return scores of both models and medians of their passes, one batch each run before."""
    models = {"float32": float32} | ({"int8": int8} if int8 else {})
    seconds: dict[str, list[float]] = {name: [] for name in models}
    scores: dict[str, float] = {}
    for classify in models.values():
        classify(batches[0][0])
    for _ in range(passes):
        for name, classify in models.items():
            start = time.perf_counter()
            scores[name] = score(classify, batches)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return Judged(scores["float32"], scores.get("int8"), medians["float32"], medians.get("int8"))


def within(found: float | None, float32: float, relative: float) -> bool:
    """Return whether a score is within the tolerated loss of float32's."""
    return found is not None and found >= float32 - abs(float32) * relative


def versions_of(*distributions: str) -> dict[str, str]:
    """Return installed versions, Python's first."""
    return {"python": platform.python_version(), **{name: version(name) for name in distributions}}


def cpu_of(threads: int) -> dict[str, Any]:
    """Return the CPU's name, those of its instruction sets that matter here, and the limits set on them."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    flags = facts.get("flags", "").split()
    isa = [name for name in ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in flags]
    limits = {name: os.environ[name] for name in ISA_LIMITS if name in os.environ}
    return {"model": facts.get("model name", "?"), "isa": isa, "limits": limits, "threads": threads}
