"""What stands beside a saved model for people and programs: ``README.md`` and ``result.json``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ilit.report.wording import drop, evidence_fields, flips, left_in_float, score_in_full, verdict
from ilit.result import TrialRecord
from ilit.run.journal import Header

FORMAT_VERSION = 1


def write_card(folder: Path, header: Header, record: TrialRecord) -> None:
    """Write both files into ``folder``."""
    (folder / "README.md").write_text(card(header, record), encoding="utf-8")
    text = json.dumps(summary(header, record), indent=2, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")


def summary(header: Header, record: TrialRecord) -> dict[str, Any]:
    """Return what ``result.json`` holds: format version 1, plain values, times in seconds, sizes in bytes."""
    cost, float_cost = record.cost, record.float_cost
    return {
        "version": FORMAT_VERSION,
        "created": header.created,
        "metric": header.metric,
        "higher_is_better": header.higher_is_better,
        "baseline": header.baseline,
        "target": header.target,
        "criterion": header.criterion,
        "accuracy": record.accuracy,
        **evidence_fields(record, record.evidence),
        "status": record.status,
        "reason": record.why_not,  # in this format version an objection has always stood here
        "objection": record.objection,
        "trial": record.number,
        "recipe": record.recipe.digest,
        "ops_total": len(record.recipe.ops),
        "ops_float": list(record.recipe.float_ops),
        "left_in_float": dict(header.left_in_float),
        "int8_kernels": record.int8_kernels,
        "seconds_int8": cost and cost.seconds,
        "seconds_float32": float_cost and float_cost.seconds,
        "bytes_int8": cost and cost.bytes,
        "bytes_float32": float_cost and float_cost.bytes,
        "cpu": asdict(header.cpu),
        "versions": dict(header.versions),
    }


def card(header: Header, record: TrialRecord) -> str:
    """Return the model card as Markdown."""
    outcome = "meets its criterion" if record.accepted else "**misses its criterion**"
    rows = {
        "metric": f"{header.metric} ({'higher' if header.higher_is_better else 'lower'} is better)",
        "float32": f"{header.baseline:.4f}",
        "asked": header.criterion,
        "INT8": score_in_full(record, header.higher_is_better) or "-",
        **_evidence(record),
        "note": record.why_not,
        "forward pass": _times(record),
        "size": _sizes(record),
        "ops in INT8": f"{len(record.recipe.quantized_ops)} of {len(record.recipe.ops)}",
        "ops in float": ", ".join(f"`{name}`" for name in record.recipe.float_ops) or "none",
        "left in float": "; ".join(left_in_float(header.left_in_float)),
        "tuned on": f"{header.cpu.model}, {header.cpu.isa}, {header.cpu.threads} threads",
        "CPU class": _class(header.cpu.int8_class),
        "tuned with": ", ".join(f"{name} {version}" for name, version in header.versions.items()),
        "date": header.created,
        "recipe": f"`{record.recipe.digest[:16]}`, trial {record.number}, strategy {header.strategy}",
    }
    table = "\n".join(f"| {name} | {' '.join(text.split())} |" for name, text in rows.items() if text)
    return f"# INT8 model tuned by ilit\n\nThis model {outcome}.\n\n| | |\n|---|---|\n{table}\n\n{_USE}"


def _evidence(record: TrialRecord) -> dict[str, str]:
    """Return the rows on what the paired predictions prove; none where there are no predictions."""
    found = record.evidence
    if found is None:
        return {}
    return {
        "drop": f"{drop(found.drop, found.relative)}{' of the float32 score' if found.relative else ''}",
        "bound": verdict(found),
        "flips": flips(found),
    }


def _times(record: TrialRecord) -> str:
    if record.cost is None or record.float_cost is None:
        return ""
    ours, theirs = record.cost.seconds, record.float_cost.seconds
    speedup = f", {theirs / ours:.2f} times as fast" if ours else ""
    return f"{ours * 1e3:.3g} ms in INT8, {theirs * 1e3:.3g} ms in float32{speedup} (medians of interleaved passes)"


def _sizes(record: TrialRecord) -> str:
    if record.cost is None or record.float_cost is None:
        return ""
    return f"{record.cost.bytes:,} bytes in INT8, {record.float_cost.bytes:,} in float32"


def _class(int8_class: str) -> str:
    meaning = {"V": "u8 x s8 products are summed exactly", "A": "16-bit intermediates can saturate"}
    return f"{int8_class} ({meaning[int8_class]})" if int8_class in meaning else int8_class


_USE = """## Use

```python
import ilit

model = ilit.load("path/to/this/folder")
```

`recipe.json` says what every op runs in, `result.json` has these figures for programs.
"""
