"""The figures of a benchmark, by the names that ``ilit_bert.cli`` prints as JSON; units are in the names."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ilit.adapter import Cpu
from ilit_bert.measuring.fresh_load import Form, LoadCost
from ilit_bert.measuring.passes import Ratio, deviation, is_busy, ratio

FP32: Form = "fp32"
INT8: Form = "int8"
DYNAMIC = "dynamic"


@dataclass(frozen=True)
class Case:
    """The times of one batch size and length.

    Attributes:
        batch_size: rows.
        seq_length: tokens of each row, none of them padding.
        seconds: by model ``fp32``, ``int8``, ``dynamic``: seconds of each pass, by round.
    """

    batch_size: int
    seq_length: int
    seconds: Mapping[str, Sequence[float]]

    @property
    def is_busy(self) -> bool:
        """Whether times differ so much that the machine must have been busy."""
        return any(is_busy(times) for times in self.seconds.values())

    def ratio(self, slower: str, faster: str) -> Ratio | None:
        """Return the speed of one model in times another's; None where one of them did not run."""
        if slower not in self.seconds or faster not in self.seconds:
            return None
        return ratio(self.seconds[slower], self.seconds[faster])


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        model: as the job names it.
        int8: as the job names it.
        cases: each batch size with each length, in the job's order.
        sizes: bytes of parameters, buffers and packed weights by model, from shapes and dtypes.
        files: bytes of the weights on disk by model; none for an id on the hub.
        loads: what loading takes by model; empty where that was not asked for.
        int8_kernels: INT8 kernels one pass of the tuned model runs; None without one.
        cpu: what it ran on.
        versions: of all that decides the figures.
        notes: what to know before a figure is quoted, a line each.
    """

    model: str
    int8: str | None
    cases: Sequence[Case]
    sizes: Mapping[str, int]
    files: Mapping[str, int]
    loads: Mapping[Form, LoadCost]
    int8_kernels: int | None
    cpu: Cpu
    versions: Mapping[str, str]
    notes: Sequence[str]


def to_json(found: Benchmark) -> dict[str, Any]:
    """Return every figure by its name, as plain values; the keys are always the same, None where nothing is known."""
    forms: tuple[str, ...] = (FP32, INT8)
    loads: Mapping[str, dict[str, Any]] = {form: asdict(cost) for form, cost in found.loads.items()}
    return {
        "model": found.model,
        "int8": found.int8,
        "cases": [case_to_json(case) for case in found.cases],
        **{f"size_{form}_bytes": found.sizes.get(form) for form in forms},
        **{f"file_{form}_bytes": found.files.get(form) for form in forms},
        **{f"memory_{form}_bytes": loads.get(form, {}).get("resident_bytes") for form in forms},
        **{f"memory_peak_{form}_bytes": loads.get(form, {}).get("peak_bytes") for form in forms},
        **{f"load_{form}_seconds": loads.get(form, {}).get("seconds") for form in forms},
        "int8_kernels": found.int8_kernels,
        "threads": found.cpu.threads,
        "cpu": asdict(found.cpu),
        "versions": dict(found.versions),
        "notes": list(found.notes),
    }


def case_to_json(case: Case) -> dict[str, Any]:
    """Return the figures of a case: latencies are medians, beside them the median absolute deviation."""
    told: dict[str, Any] = {"batch_size": case.batch_size, "seq_length": case.seq_length}
    told["repeats"] = len(case.seconds[FP32])
    for name in (FP32, INT8, DYNAMIC):
        told |= _times_of(case, name)
    for name, slower, faster in (
        ("speedup", FP32, INT8),
        ("speedup_dynamic", FP32, DYNAMIC),
        ("speedup_over_dynamic", DYNAMIC, INT8),
    ):
        found = case.ratio(slower, faster)
        told[name] = found and found.of_medians
        told[f"{name}_quartiles"] = found and [found.low, found.high]
    return {**told, "busy": case.is_busy}


def _times_of(case: Case, form: str) -> dict[str, float | None]:
    times = case.seconds.get(form)
    if times is None:
        return dict.fromkeys(_names(form))
    median = statistics.median(times)
    rows = case.batch_size / median
    return dict(zip(_names(form), (median * 1e3, deviation(times) * 1e3, rows, rows * case.seq_length), strict=True))


def _names(form: str) -> tuple[str, ...]:
    return (f"latency_{form}_ms", f"deviation_{form}_ms", f"rows_per_second_{form}", f"tokens_per_second_{form}")
