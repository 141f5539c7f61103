"""ilit beside Intel Neural Compressor and NNCF on one task: each in its own environment, a fresh process a run.

Run ``python bench/peers/run.py SHARED --envs DIR --setup`` once, then the same without ``--setup``; see README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import race

HERE = Path(__file__).resolve().parent
PEERS = ("neural_compressor", "nncf")
TOOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "neural_compressor": ("tune_neural_compressor.py", ()),
    "nncf": ("tune_nncf.py", ()),
    "nncf_outputs": ("tune_nncf.py", ("--values", "outputs")),
    "ilit": ("tune_ilit.py", ()),
    "ilit_auto": ("tune_ilit.py", ("--approach", "auto")),
}
"""Tool -> its script and options; the environment is the one of the script's peer."""

QUIET = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "CI": "true"}
"""For all tools alike; ``CI`` is what OpenVINO's telemetry takes for a no."""

AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2",
}
"""What ``--avx2`` sets; README.md says who does not obey."""

COLUMNS = (
    "tool", "seconds", "in evaluations", "full evaluations", "rows evaluated", "float32 F1", "INT8 F1", "verdict",
    "Linears not in INT8", "float32 pass", "INT8 pass", "INT8 speed / its float32", "ilit's time / its time",
)  # fmt: skip


def set_up(folder: Path) -> None:
    """Make the peers' environments in ``folder``, with the Python that runs this."""
    for peer in PEERS:
        venv.create(folder / peer, with_pip=True)
        python = str(folder / peer / "bin" / "python")
        command = [python, "-m", "pip", "install", "-r", str(HERE / f"requirements-{peer}.txt")]
        subprocess.run(command, check=True)  # noqa: S603 - our own command


def python_of(tool: str, arguments: argparse.Namespace) -> str:
    """Return the Python that runs a tool's script."""
    if tool.startswith("ilit"):
        return str(arguments.ilit_python)
    named = arguments.nncf_python if tool.startswith("nncf") else arguments.neural_compressor_python
    python = named or arguments.envs / ("nncf" if tool.startswith("nncf") else tool) / "bin" / "python"
    if not python.exists():
        sys.exit(f"{python}: is missing; make the environments with --setup, or name a Python for {tool}")
    return str(python)


def script(command: Sequence[str], folder: Path, avx2: bool, log: Path | None = None) -> str:
    """Run one script in a fresh process that works in ``folder``; return what it printed last."""
    limits = AVX2 if avx2 else {}
    clean = {name: value for name, value in os.environ.items() if name not in race.ISA_LIMITS}
    done = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, check=False, cwd=folder, env={**clean, **QUIET, **limits}
    )
    if log is not None:
        log.write_text(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return lines[-1] if lines else ""


def rounds(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the tools in turn, ``repeats`` times; return their outcomes in the order they came."""
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        given = [
            "--checkpoint", str(arguments.shared / "checkpoints" / "mrpc-minilm"),
            "--data", str(arguments.shared / "glue" / "MRPC"), "--rows", str(Path(scratch) / "rows.npz"),
            "--pairs", str(arguments.pairs), "--calibration", str(arguments.calibration),
            "--relative", str(arguments.relative), "--threads", str(arguments.threads),
            "--passes", str(arguments.passes),
        ]  # fmt: skip
        script([str(arguments.ilit_python), str(HERE / "rows.py"), *given], Path(scratch), avx2=False)
        for turn in range(1, arguments.repeats + 1):
            for tool in arguments.tools:
                folder = Path(scratch) / f"{turn}-{tool}"
                folder.mkdir()
                log = arguments.logs / f"{turn}-{tool}.txt" if arguments.logs else None
                name, options = TOOLS[tool]
                command = [python_of(tool, arguments), str(HERE / name), *given, *options]
                outcome = {**json.loads(script(command, folder, arguments.avx2, log)), "tool": tool, "round": turn}
                print(f"round {turn} {tool}: {outcome['seconds']:.1f} s, F1 {outcome['score']}", file=sys.stderr)
                outcomes.append(outcome)
                if arguments.out:  # after each run, so that a later one that fails costs nothing
                    arguments.out.with_suffix(".json").write_text(json.dumps(outcomes, indent=1) + "\n")
    seen = {outcome["rows"] for outcome in outcomes}
    if len(seen) > 1:
        sys.exit(f"the tools saw different rows ({', '.join(sorted(seen))}); their figures cannot be compared")
    return outcomes


def median(outcomes: Sequence[dict[str, Any]], key: str) -> float | None:
    """Return the median of a figure, None where a run has none."""
    values = [outcome[key] for outcome in outcomes]
    return None if None in values else statistics.median(values)


def ratio(outcomes: Sequence[dict[str, Any]], tool: str) -> float | None:
    """Return ilit's median seconds over a tool's, None without both."""
    ours, theirs = ([o for o in outcomes if o["tool"] == name] for name in ("ilit", tool))
    return (
        statistics.median(o["seconds"] for o in ours) / statistics.median(o["seconds"] for o in theirs)
        if ours
        else None
    )


def row(outcomes: Sequence[dict[str, Any]], tool: str) -> str:
    """Return a tool's line of the table: medians, and what its runs found where they agree, else each."""
    runs = [outcome for outcome in outcomes if outcome["tool"] == tool]

    def number(key: str, form: str) -> str:
        value = median(runs, key)
        return "-" if value is None else format(value, form)

    def found(texts: Sequence[str]) -> str:
        return texts[0] if len(set(texts)) == 1 else ", ".join(texts)

    spread = ", ".join(f"{run['seconds']:.1f}" for run in runs)
    kept_float = found([_left(run["linears_float"], run["linears"]) for run in runs])
    beside = ratio(outcomes, tool)
    cells = [
        tool,
        f"{number('seconds', '.1f')} ({spread})",
        number("evaluation_seconds", ".1f"),
        number("evaluations", ".0f"),
        number("evaluated_rows", ".0f"),
        number("float32", ".4f"),
        found(["-" if run["score"] is None else f"{run['score']:.4f}" for run in runs]),
        found(["passes" if run["passed"] else "misses" for run in runs]),
        kept_float,
        f"{number('float32_seconds', '.2f')} s",
        f"{number('int8_seconds', '.2f')} s",
        number("speedup", ".2f"),
        "-" if beside is None or tool == "ilit" else f"{beside:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _left(kept: dict[str, str], linears: int) -> str:
    """Return how many Linears are not in INT8, by dtype."""
    dtypes = sorted(set(kept.values()))
    which = " and ".join(f"{list(kept.values()).count(dtype)} {dtype}" for dtype in dtypes)
    return f"{which or 0} of {linears}"


def markdown(outcomes: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Return the table with what it was measured on."""
    cpu = outcomes[0]["cpu"]
    vnni = "avx512_vnni" in cpu["isa"]
    kind = "class A, emulated by AVX2 limits" if arguments.avx2 else f"class {'V' if vnni else 'A'}"
    versions = {name: text for outcome in outcomes for name, text in outcome["versions"].items()}
    machine = (
        f"{cpu['model']}, {' '.join(cpu['isa'])}: {kind}; {cpu['threads']} threads; {datetime.date.today()}; "
        f"{', '.join(f'{name} {text}' for name, text in sorted(versions.items()))}"
    )
    terms = (
        f"mrpc-minilm, the first {arguments.pairs} dev pairs, F1, relative {arguments.relative:g}, "
        f"{arguments.calibration} rows of calibration; medians of {arguments.repeats} interleaved runs, each run's "
        f"seconds in brackets; rows {outcomes[0]['rows']}."
    )
    head = [machine, "", terms, "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*head, *(row(outcomes, tool) for tool in arguments.tools)]) + "\n"


def read_arguments() -> argparse.Namespace:
    """Return the command line's choices, checked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path, help="folder with checkpoints/mrpc-minilm and glue/MRPC")
    parser.add_argument("--envs", type=Path, required=True, help="folder of the peers' environments")
    parser.add_argument("--setup", action="store_true", help="make the environments and stop")
    parser.add_argument("--ilit-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--neural-compressor-python", type=Path, help="instead of the one in --envs")
    parser.add_argument("--nncf-python", type=Path, help="instead of the one in --envs")
    parser.add_argument("--tools", nargs="+", choices=tuple(TOOLS), default=["neural_compressor", "nncf", "ilit"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--calibration", type=int, default=128)
    parser.add_argument("--relative", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passes", type=int, default=3, help="timed passes of float32 and of INT8 after each tuning")
    parser.add_argument("--avx2", action="store_true", help="let a wider CPU do an AVX2 CPU's arithmetic")
    parser.add_argument("--logs", type=Path, help="folder for what each run printed")
    parser.add_argument("--out", type=Path, help="write the table to OUT.md and every figure to OUT.json")
    arguments = parser.parse_args()
    for name in ("shared", "envs", "logs", "ilit_python", "neural_compressor_python", "nncf_python"):
        value = getattr(arguments, name)  # the scripts work in folders of their own
        setattr(arguments, name, value and value.absolute())
    if arguments.logs:
        arguments.logs.mkdir(parents=True, exist_ok=True)
    return arguments


def main() -> None:
    arguments = read_arguments()
    if arguments.setup:
        set_up(arguments.envs)
        return
    outcomes = rounds(arguments)
    text = markdown(outcomes, arguments)
    print(text)
    if arguments.out:
        arguments.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
