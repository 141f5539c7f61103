"""``ilit bert benchmark``: how fast and how large a tuned model is beside its float checkpoint, here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ilit.cli import JsonFlag, only_json, report
from ilit_bert.cli import options
from ilit_bert.cli.progress import progress

if TYPE_CHECKING:
    from ilit_bert.measuring.figures import Benchmark


def benchmark(
    model: options.Model,
    int8: Annotated[Path | None, typer.Option("--int8", help="Folder of the model tuned from it.")] = None,
    batch_size: Annotated[
        list[int], typer.Option("--batch-size", min=1, help="Rows of a batch; give it again for another case.")
    ] = [1, 8],  # noqa: B006 - typer's way to a default; nobody changes it
    seq_length: Annotated[
        list[int] | None,
        typer.Option("--seq-length", min=1, help="Tokens of a row, likewise; 128, or what the model takes."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads; as many as torch takes.")] = None,
    repeats: Annotated[
        int | None, typer.Option("--repeats", min=1, help="Timed passes of a case; about three seconds' worth.")
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic/--no-dynamic", help="Time torch's quantize_dynamic in turns too.")
    ] = True,
    loads: Annotated[
        int, typer.Option("--loads", min=0, help="Fresh processes that load each model; 0 leaves memory out.")
    ] = 3,
    as_json: JsonFlag = False,
) -> None:
    """Measure float32 and INT8 in turns on the same random batches: latency, throughput, memory, load time.

    No row has padding. The speed-up is the ratio of the median latencies; the quartiles beside it are those of passes
    that followed each other.
    """
    from ilit_bert import benchmark as work
    from ilit_bert.measuring.figures import to_json

    job = work.BenchmarkJob(
        model=model,
        int8=int8,
        batch_sizes=batch_size,
        seq_lengths=seq_length or None,
        threads=threads,
        repeats=repeats,
        dynamic=dynamic,
        loads=loads,
    )
    with only_json(as_json), progress("measuring") as step:
        found = work.benchmark(job, step)
    for note in found.notes:
        sys.stderr.write(f"warning: {note}\n")
    report(to_json(found), as_json, lambda console: show(found, console))


def show(found: Benchmark, console: Console) -> None:
    """Print the times, then sizes and loading, then what it ran on."""
    from ilit_bert.measuring.figures import case_to_json, to_json

    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file has no edge to keep to
    console.print(_times([case_to_json(case) for case in found.cases]))
    console.print(_costs(to_json(found)))
    cpu = found.cpu
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    lines = [
        f"measured on {cpu.model}, {cpu.isa}, class {cpu.int8_class}, {cpu.threads} threads, with {versions}",
        "torch dynamic is there to compare with: torch's quantize_dynamic of float32, its accuracy not measured",
    ]
    for line in lines if any("dynamic" in case.seconds for case in found.cases) else lines[:1]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


_FORMS = {"fp32": "float32", "int8": "INT8", "dynamic": "torch dynamic"}


def _times(cases: list[dict[str, Any]]) -> Table:
    """Return a row for each case and model that ran."""
    table = Table("batch", "model", "latency", "rows/s", "tokens/s", "times float32", "quartiles")
    for case in cases:
        name = f"{case['batch_size']} x {case['seq_length']}"
        for form, title in _FORMS.items():
            if case[f"latency_{form}_ms"] is None:
                continue
            latency = f"{case[f'latency_{form}_ms']:.2f} ± {case[f'deviation_{form}_ms']:.2f} ms"
            rates = (f"{case[f'{what}_per_second_{form}']:,.0f}" for what in ("rows", "tokens"))
            table.add_row(name, title, latency, *rates, *_ratio(case, form))
            name = ""
        table.add_section()
    return table


def _ratio(case: dict[str, Any], form: str) -> tuple[str, str]:
    """Return the cells on how many times as fast as float32 a model is."""
    key = {"int8": "speedup", "dynamic": "speedup_dynamic"}.get(form)
    if key is None:
        return "", ""
    low, high = case[f"{key}_quartiles"]
    return f"{case[key]:.2f}", f"{low:.2f} to {high:.2f}"


def _costs(told: dict[str, Any]) -> Table:
    """Return sizes, memory and load time side by side, and INT8's share of float32's."""
    table = Table("", "float32", "INT8", "share")
    rows = (
        ("weights in memory", "size_{}_bytes", 1e6, "MB"),
        ("weights on disk", "file_{}_bytes", 1e6, "MB"),
        ("resident, loaded and used once", "memory_{}_bytes", 1e6, "MB"),
        ("resident at most until then", "memory_peak_{}_bytes", 1e6, "MB"),
        ("time to load", "load_{}_seconds", 1, "s"),
    )
    for title, key, unit, name in rows:
        ours, theirs = told[key.format("int8")], told[key.format("fp32")]
        cells = ("-" if value is None else f"{value / unit:.2f} {name}" for value in (theirs, ours))
        table.add_row(title, *cells, f"{ours / theirs:.2f}" if ours is not None and theirs else "")
    return table
