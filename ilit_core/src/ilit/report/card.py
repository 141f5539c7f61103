"""The files beside a saved model for people and programs: ``README.md``, ``result.json``, ``receipt.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilit.report.receipt import Receipt, write_receipt
from ilit.report.summary import Cost, Summary, TrialSummary, summary_to_json
from ilit.report.wording import drop, flips, left_in_float
from ilit.run.records import Header

FORMAT_VERSION = 2


def write_card(folder: Path, header: Header, summary: Summary, receipt: Receipt | None = None) -> None:
    """Write the files into ``folder``, without a receipt where it is not known what ran."""
    (folder / "README.md").write_text(card(header, summary, receipt), encoding="utf-8")
    text = json.dumps(result_json(header, summary), indent=2, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
    if receipt is not None:
        write_receipt(folder, receipt)


def result_json(header: Header, summary: Summary) -> dict[str, Any]:
    """Return the content of ``result.json``: format version 2, plain values, units in the names."""
    return {
        "version": FORMAT_VERSION,
        "created": header.created,
        **summary_to_json(summary),
        "versions": dict(header.versions),
    }


def card(header: Header, summary: Summary, receipt: Receipt | None = None) -> str:
    """Return the model card as Markdown."""
    asked, trial = summary.asked, summary.chosen
    in_float = trial.ops.ops_float
    outcome = "meets its criterion" if summary.passed else "**misses its criterion**"
    rows = {
        "metric": f"{asked.metric} ({'higher' if summary.higher_is_better else 'lower'} is better)",
        "float32": f"{asked.baseline:.4f}",
        "asked": summary.criterion,
        "INT8": trial.reached or "-",
        **_evidence(trial),
        "note": trial.objection,
        "forward pass": _times(trial.cost),
        "size": _sizes(trial.cost),
        "kernels": receipt.sentence if receipt is not None else "",
        "ops in INT8": f"{summary.ops_total - len(in_float)} of {summary.ops_total}",
        "ops in float": ", ".join(f"`{name}`" for name in in_float) or "none",
        "left in float": "; ".join(left_in_float(summary.left_in_float)),
        "tuned on": f"{summary.cpu.model}, {summary.cpu.isa}, {summary.cpu.threads} threads",
        "CPU class": _class(summary.cpu.int8_class),
        "tuned with": ", ".join(f"{name} {version}" for name, version in header.versions.items()),
        "date": header.created,
        "recipe": f"`{(trial.digest or '')[:16]}`, trial {trial.trial}, strategy {header.strategy}",
    }
    table = "\n".join(f"| {name} | {' '.join(text.split())} |" for name, text in rows.items() if text)
    return f"# INT8 model tuned by ilit\n\nThis model {outcome}.\n\n| | |\n|---|---|\n{table}\n\n{_USE}"


def _evidence(trial: TrialSummary) -> dict[str, str]:
    """Return the rows on the drop; none where there are no paired predictions."""
    found = trial.evidence
    if found is None:
        return {}
    return {
        "drop": f"{drop(found.drop, found.relative)}{' of the float32 score' if found.relative else ''}",
        "bound": trial.drop.verdict or "",
        "flips": flips(found),
    }


def _times(cost: Cost) -> str:
    if cost.latency_int8_ms is None or cost.latency_fp32_ms is None:
        return ""
    speedup = f", {cost.speedup:.2f} times as fast" if cost.speedup is not None else ""
    passes = f"{cost.latency_int8_ms:.3g} ms in INT8, {cost.latency_fp32_ms:.3g} ms in float32"
    return f"{passes}{speedup} (medians of interleaved passes)"


def _sizes(cost: Cost) -> str:
    if cost.size_int8_bytes is None or cost.size_fp32_bytes is None:
        return ""
    return f"{cost.size_int8_bytes:,} bytes in INT8, {cost.size_fp32_bytes:,} in float32"


def _class(int8_class: str) -> str:
    meaning = {"V": "u8 x s8 products are summed exactly", "A": "16-bit intermediates can saturate"}
    return f"{int8_class} ({meaning[int8_class]})" if int8_class in meaning else int8_class


_USE = """## Use

```python
import ilit

model = ilit.load("path/to/this/folder")
```

`recipe.json` says what every op runs in, `result.json` has these figures for programs, `receipt.json` the kernels that
ran in one batch where they are known.
"""
