"""The BERT figures: ``ilit bert tune`` on real checkpoints, and its speed beside float32 and torch's own dynamic INT8.

Run ``python bench/bert.py SHARED [--out FILE.md]``; SHARED holds ``checkpoints/`` and ``glue/``. To see class A's
arithmetic on a CPU of class V, set ``ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
FBGEMM_ENABLE_INSTRUCTIONS=AVX2``; without the last one FBGEMM, which torch's dynamic INT8 uses, keeps VNNI.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

RUNS = [
    ("MRPC", "mrpc-minilm", 0.01),
    ("MRPC", "mrpc-minilm", 0.002),
    ("SST-2", "sst2-minilm", 0.01),
]


def tune(shared: Path, task: str, checkpoint: str, relative: float, output: Path) -> dict[str, Any]:
    """Run the command as a user would, return its JSON."""
    config = output.with_suffix(".yaml")
    config.write_text(f"tuning:\n  accuracy_criterion:\n    relative: {relative}\nrun:\n  folder: {output}-runs\n")
    command = [
        "ilit", "bert", "tune", "--model", str(shared / "checkpoints" / checkpoint), "--task", task,
        "--data-dir", str(shared / "glue" / task), "--output", str(output), "--config", str(config), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return {**json.loads(done.stdout), "exit": done.returncode}


def speeds(shared: Path, task: str, checkpoint: str, tuned: Path, pairs: int = 15) -> dict[str, float]:
    """Return median milliseconds of a batch of 32 rows, middle length, three models interleaved in one process."""
    import torch

    from ilit_bert.checkpoints.loading import load_model
    from ilit_bert.data.loaders import evaluation_loader
    from ilit_bert.tasks.table import find_task

    found = find_task(task)
    plain, tokenizer = load_model(str(shared / "checkpoints" / checkpoint), found.kind)
    int8, _ = load_model(str(tuned), found.kind)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.ao\.quantization.*", category=DeprecationWarning)
        dynamic = torch.ao.quantization.quantize_dynamic(copy.deepcopy(plain), {torch.nn.Linear}, dtype=torch.qint8)
    loader = evaluation_loader(found, shared / "glue" / task, plain, tokenizer, samples=512)
    batches = sorted((inputs for inputs, _ in loader), key=lambda inputs: inputs["input_ids"].shape[1])
    batch = batches[len(batches) // 2]
    times: dict[str, list[float]] = {"float32": [], "int8": [], "dynamic": []}
    for turn in range(pairs + 2):
        for name, model in (("float32", plain), ("int8", int8), ("dynamic", dynamic)):
            with torch.no_grad():
                start = time.perf_counter()
                model(**batch)
            if turn >= 2:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    """Run all and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (task, checkpoint, relative) in enumerate(RUNS):
            output = Path(folder) / f"{number}-{checkpoint}"
            told = tune(arguments.shared, task, checkpoint, relative, output)
            linears = [name for name in told["ops_float"] if "embeddings" not in name]
            kept = output if told["passed"] else Path(f"{output}-closest")
            ms = speeds(arguments.shared, task, checkpoint, kept)
            verdict = "passes" if told["passed"] else "misses, closest shown"
            rows.append(
                f"| {task} {told['metric']} | {relative:g} | {told['baseline']:.4f} | {told['target']:.4f} | "
                f"{told['accuracy']:.4f} | {verdict} | {told['evaluations']} | {told['probes']} | "
                f"{len(linears)} of 38 | {told['seconds']:.0f} | {ms['float32'] / ms['int8']:.2f} | "
                f"{ms['dynamic'] / ms['int8']:.2f} |"
            )
    cpu = told["cpu"]
    machine = (
        f"{cpu['model']}, {cpu['isa']}, class {cpu['int8_class']}, {cpu['threads']} threads; "
        f"torch {version('torch')}, transformers {version('transformers')}; {datetime.date.today()}"
    )
    head = "task|relative|float32|target|INT8|verdict|evaluations|probes|Linears in float|seconds"
    columns = f"| {head.replace('|', ' | ')} | speed / float32 | speed / quantize_dynamic |"
    lines = [machine, "", columns, "|---" * 12 + "|", *rows]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
