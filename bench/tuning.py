"""What a search costs and finds: evaluations, seconds beside the model's own, damage found, memory.

Run ``python bench/tuning.py SHARED [--out FILE.md] [--only NAME ...]``; SHARED holds ``checkpoints/`` and ``glue/``.
Each case runs in a process of its own. Nothing else should run on the machine. To see class A's arithmetic on a CPU of
class V, set ``ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
FBGEMM_ENABLE_INSTRUCTIONS=AVX2``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from clocked import Seconds, clocked

PLANTED = ("bert.encoder.layer.1.attention.output.dense", "bert.encoder.layer.4.attention.output.dense")
PLAIN = {"quantization": {"transforms": "none"}}
BARE: dict[str, Any] = {
    "quantization": {"transforms": "none", "approach": "post_training_static_quant"},
    "calibration": {"algorithm": {"weight": "minmax", "activation": "minmax"}},
}
"""What leaves the search nothing but float32 to repair with."""


class Counted:
    """A loader that counts the batches taken from it."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.taken = batches, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            self.taken += 1
            yield batch


# --- Real checkpoints ------------------------------------------------------------------------------------------------


def real(shared: Path, checkpoint: str, task_name: str, config: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Tune a checkpoint with everything clocked; ``plant``: factor, rows; ``samples`` limits the dev split."""
    from ilit import Tuner
    from ilit_bert.checkpoints.loading import load_float
    from ilit_bert.data.loaders import calibration_loader, evaluation_loader
    from ilit_bert.metrics.table import METRICS, tuning_metric
    from ilit_bert.tasks.table import find_task

    task, source = find_task(task_name), shared / "checkpoints" / checkpoint
    data = shared / "glue" / task.name
    model, tokenizer = load_float(source, task.kind)
    if options.get("plant"):
        plant(model, PLANTED, *options["plant"])
    judged_by = tuning_metric(task, model, tokenizer, data_dir=data, source=source)
    evaluated = evaluation_loader(task, data, model, tokenizer, samples=options.get("samples"))
    calibrated = Counted(list(calibration_loader(task, data, model, tokenizer, rows=128)))
    classes = tuple({base for metric in METRICS for base in metric.__mro__ if base.__module__.startswith("ilit_bert")})
    with tempfile.TemporaryDirectory() as folder, clocked(classes) as seconds:
        tuning = {"metric": judged_by, **config.get("tuning", {})}
        tuner = Tuner({**config, "tuning": tuning, "run": {"folder": folder}})
        begun = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tuner.tune(model, calibrated, eval_dataloader=evaluated)
        total = time.perf_counter() - begun
        log = next(Path(folder).glob("*/log.txt")).read_text()
    return {
        **figures(tuner.result, seconds, total, model, calibrated),
        "named": list(dict.fromkeys(re.findall(r"basic: (\S+) stands out by its own error", log))),
        "log": log,
        "warnings": [str(w.message) for w in caught],
    }


def figures(result: Any, seconds: Seconds, total: float, model: Any, calibrated: Counted) -> dict[str, Any]:
    """Return what the table needs."""
    from ilit.report import summary_of_result

    record, plain = result.best or result.closest, plain_forwards(model, calibrated.batches)
    inside = sum(taken for name, taken in seconds.forwards.items() if name != "calibrate") + plain + seconds.metric
    probes = sum(seconds.methods[name] for name in ("probe", "probe_ops", "time_ops"))
    trials = [trial.seconds for trial in result.trials]
    fp32 = max(seconds.evaluations[:1], default=0.0)
    evidence = result.evidence
    return {
        "met": result.met,
        "baseline": result.baseline,
        "target": result.target,
        "accuracy": record.accuracy if record else None,
        "evaluations": result.evaluations,
        "statuses": [trial.status for trial in result.trials],
        "rows": [trial.rows for trial in result.trials],
        "float_linears": [n for n in record.recipe.float_ops if "embeddings" not in n] if record else [],
        "configs": config_counts(record.recipe) if record else {},
        "seconds": total,
        "speedup": record.float_cost.seconds / record.cost.seconds if record and record.cost else None,
        "probes": result.probes,
        "probe_seconds": probes,
        "fp32_seconds": fp32,
        "outside": total - inside,
        "outside_allowed": 1.5 + 0.03 * total,
        "floor": fp32 + sum(trials) + plain,
        "calibration_passes": (calibrated.taken - 1) / len(calibrated.batches),
        "methods": {name: round(taken, 3) for name, taken in seconds.methods.items()},
        "calls": dict(seconds.calls),
        "forwards": {name: round(taken, 3) for name, taken in seconds.forwards.items()},
        "metric_seconds": seconds.metric,
        "bound": evidence.bound if evidence else None,
        "verdict": summary_of_result(result).chosen.drop.verdict or "",
    }


def config_counts(recipe: Any) -> dict[str, int]:
    """Return how many ops run in each kind of config."""
    counts: dict[str, int] = {}
    for config in recipe.ops.values():
        granularity = f" {config.activation.granularity}" if config.activation else ""
        kind = f"{config.approach}{granularity} smoothing {config.smoothing:g}" if config.quantized else config.dtype
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def plain_forwards(model: Any, batches: list[Any]) -> float:
    """Return the seconds of the float model over the calibration batches, nothing observed."""
    import torch

    with torch.no_grad():
        model(**batches[0][0])
        begun = time.perf_counter()
        for inputs, _ in batches:
            model(**inputs)
    return time.perf_counter() - begun


def plant(model: Any, ops: tuple[str, ...], factor: float, rows: int) -> None:
    """Scale rows of what feeds each op and divide the op's columns: float32 stays, the input gets outliers."""
    import torch

    with torch.no_grad():
        for name in ops:
            output = model.get_submodule(name)
            value = model.get_submodule(name.replace("attention.output.dense", "attention.self.value"))
            value.weight[:rows] *= factor
            value.bias[:rows] *= factor
            output.weight[:, :rows] /= factor


def out_of_time(shared: Path, timeout: int) -> dict[str, Any]:
    """Tune with a strategy that does not end by itself, so that only the timeout ends the search."""
    config = {"tuning": {"strategy": "random", "timeout": timeout, "max_trials": 10_000}}
    one = real(shared, "mrpc-minilm", "MRPC", config)
    overrun = 100 * (one["seconds"] / timeout - 1)
    return {"seconds": one["seconds"], "overrun_percent": overrun, "evaluations": one["evaluations"]}


# --- Models of BERT-base's and BERT-large's size ---------------------------------------------------------------------


def sized(size: str) -> Any:
    """Return a BERT with random weights whose logits are far apart, prepared, in eval mode."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from ilit_bert.checkpoints.modeling import prepare

    torch.manual_seed(9527)
    large: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    large |= {"intermediate_size": 4096, "initializer_range": 0.04}  # by 0.02 each of so many layers counts for little
    config = BertConfig(vocab_size=2000, **(large if size == "large" else {}))
    return prepare(BertForSequenceClassification(config).eval())


def random_rows(model: Any, rows: int, length: int, batch: int = 32, seed: int = 0) -> list[Any]:
    """Return batches labelled with the model's own answers."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(rows // batch):
        ids = torch.randint(5, 2000, (batch, length), generator=generator)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            logits = model(**inputs).logits
        batches.append((inputs, logits.argmax(dim=1)))
    return batches


def sure_rows(model: Any, rows: int, length: int, seed: int) -> list[Any]:
    """Return the surer two thirds of half as many rows again: a coin's toss says nothing about INT8.

    All of them keep their answers in INT8 without damage, on either class of CPU; with any one op damaged, 6 or more of
    128 do not.
    """
    import torch

    drawn = [inputs for inputs, _ in random_rows(model, rows * 3 // 2, length, seed=seed)]
    with torch.no_grad():
        logits = torch.cat([model(**inputs).logits for inputs in drawn])
    ids = torch.cat([inputs["input_ids"] for inputs in drawn])
    sure = (logits[:, 0] - logits[:, 1]).abs().topk(rows).indices.sort().values
    return [
        ({"input_ids": ids[some], "attention_mask": torch.ones_like(ids[some])}, logits[some].argmax(dim=1))
        for some in sure.split(32)
    ]


def visible(size: str) -> dict[str, Any]:
    """Plant damage that probes can see in k ops of a sized model; count what it takes to find them."""
    from ilit import Tuner

    model = sized(size)
    rng = random.Random(1)  # noqa: S311 - a choice of layers, not a secret
    layers = rng.sample(range(model.config.num_hidden_layers), 3)
    ops = tuple(f"bert.encoder.layer.{layer}.attention.output.dense" for layer in sorted(layers))
    plant(model, ops, factor=3000.0, rows=2)
    length = 32 if size == "base" else 16
    batches, calibrated = sure_rows(model, 128, length, seed=1), random_rows(model, 64, length, seed=2)
    config: dict[str, Any] = {
        **BARE,
        "tuning": {
            "metric": "accuracy",
            "accuracy_criterion": {"relative": 0.02},
            "objective": "modelsize",
            "stop": "budget",
        },
        "calibration": {**BARE["calibration"], "samples": 64},
    }
    return damage(Tuner, config, model, calibrated, ops, eval_dataloader=batches)


def hidden(size: str, k: int) -> dict[str, Any]:
    """Let only the eval_func know k harmful ops; count what it takes to find them."""
    from ilit import Tuner

    model = sized(size)
    names = [n for n, m in model.named_modules() if type(m).__name__ == "Linear"]
    ops = tuple(random.Random(k).sample(names, k))  # noqa: S311 - a choice of ops, not a secret

    def eval_func(candidate: Any) -> float:
        int8 = set(candidate.ilit.recipe.quantized_ops) if hasattr(candidate, "ilit") else set()
        return 0.9 - 0.05 * len(int8.intersection(ops))

    calibrated = random_rows(model, 32, 8, seed=2)
    config: dict[str, Any] = {
        "tuning": {"objective": "modelsize", "stop": "budget", "max_trials": 1000},
        "calibration": {"samples": 32},
    }
    return damage(Tuner, config, model, calibrated, ops, eval_func=eval_func)


def damage(
    tuner_class: Any, config: dict[str, Any], model: Any, calibrated: list[Any], ops: tuple[str, ...], **judge: Any
) -> dict[str, Any]:
    """Tune and compare the ops left in float with the harmful ones."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = tuner_class({**config, "run": {"folder": folder}})
        tuner.tune(model, calibrated, **judge)
        result = tuner.result
    record = result.best or result.closest
    left = [n for n, config in record.recipe.ops.items() if not config.quantized and "embeddings" not in n]
    linears = [name for name in record.recipe.ops if "embeddings" not in name]
    return {
        "met": result.met, "evaluations": result.evaluations, "n": len(linears), "k": len(ops),
        "found": set(ops) <= set(left), "more": len(set(left) - set(ops)), "seconds": result.seconds,
        "trials": [[t.status, t.accuracy, len(t.recipe.float_ops), t.why] for t in result.trials],
    }  # fmt: skip


# --- Costs of parts --------------------------------------------------------------------------------------------------


def lowering() -> dict[str, Any]:
    """Time a recipe that differs in one op on BERT-base, from the request to a ready model.

    Python's garbage collector is kept off what was there before, since it takes 0.2 s for all of torch now and then.
    """
    import gc
    import statistics
    from dataclasses import replace

    import torch

    from ilit.space import CalibrationSize
    from ilit_pytorch.adapter import PyTorchAdapter
    from ilit_pytorch.engine import kernels

    model, adapter = sized("base"), PyTorchAdapter()
    batches = random_rows(model, 32, 16)
    space = replace(adapter.describe(model, batches[0]), calibrations=(CalibrationSize(32, "rows"),))
    calibration = adapter.calibrate(model, batches, space)
    base = space.recipe({})
    adapter.lower(model, base, calibration)
    gc.collect()
    gc.freeze()
    first, again, packing, kept = [], [], [], []
    codes = torch.zeros(3072, 768, dtype=torch.int8)
    for layer in range(12):
        for part in ("attention.output.dense", "intermediate.dense", "output.dense"):
            name = f"bert.encoder.layer.{layer}.{part}"
            other = next(
                c
                for c in space.ops[name].candidates
                if c.weight and c.weight.granularity == "per_tensor" and c.weight.algorithm == "minmax"
            )
            recipe = base.with_ops({name: other})
            for times in (first, again):
                begun = time.perf_counter()
                lowered = adapter.lower(model, recipe, calibration)
                times.append((time.perf_counter() - begun) * 1e3)
                kept.append(lowered)  # what it costs to throw a model away is not what it costs to get one
            begun = time.perf_counter()
            kernels.pack_linear(codes)
            packing.append((time.perf_counter() - begun) * 1e3)
    widest = [taken for index, taken in enumerate(first) if index % 3]
    found = {"first_ms": widest, "of_it_packing_ms": packing, "cached_ms": again}
    return {name: statistics.median(times) for name, times in found.items()} | {"first_worst_ms": max(first)}


def memory(tune: bool) -> dict[str, Any]:
    """Return the peak resident megabytes of a process that evaluates BERT-base in float32, or tunes it as well."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from ilit import Tuner
    from ilit_bert.checkpoints.modeling import prepare
    from ilit_pytorch import Accuracy
    from ilit_pytorch.adapter import PyTorchAdapter

    torch.manual_seed(9527)
    model = prepare(BertForSequenceClassification(BertConfig()).eval())
    batches = random_rows(model, 64, 128)
    if tune:
        config = {"tuning": {"metric": "accuracy", "accuracy_criterion": {"relative": 0.5}}}
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Tuner({**config, "run": {"folder": folder}}).tune(model, batches, eval_dataloader=batches)
    else:
        PyTorchAdapter().evaluate(model, batches, Accuracy())
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def exhaustive() -> dict[str, Any]:
    """Time the first trial of ``exhaustive`` over 10**30 recipes and more, and what memory 1,000 more take."""
    from ilit.strategy import Baseline, TrialOutcome
    from ilit.testing import synthetic_space
    from ilit_strategies.exhaustive import Exhaustive

    space = synthetic_space(ops=64)
    begun = time.perf_counter()
    requests = Exhaustive(Exhaustive.Options()).search(space, Baseline(0.9, 0.89), random.Random(1))  # noqa: S311 - a search
    next(requests)
    first = time.perf_counter() - begun
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        requests.send(TrialOutcome("missed", 0.5))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"log10": math.log10(space.size()), "first_ms": first * 1e3, "grown_mb": (after - before) / 1024}


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "mrpc 0.01": lambda s: real(s, "mrpc-minilm", "MRPC", {}),
    "mrpc 0.005": lambda s: real(s, "mrpc-minilm", "MRPC", relative(0.005)),
    "mrpc 0.01 plain": lambda s: real(s, "mrpc-minilm", "MRPC", PLAIN),
    "mrpc 0.005 minmax": lambda s: real(s, "mrpc-minilm", "MRPC", BARE | relative(0.005)),
    "mrpc 0.002": lambda s: real(s, "mrpc-minilm", "MRPC", relative(0.002)),
    "sst2 0.005": lambda s: real(s, "sst2-minilm", "SST-2", relative(0.005)),
    "mrpc planted": lambda s: real(s, "mrpc-minilm", "MRPC", {}, plant=(300.0, 32)),
    "mrpc planted plain": lambda s: real(s, "mrpc-minilm", "MRPC", PLAIN, plant=(300.0, 32)),
    "mrpc planted few": lambda s: real(s, "mrpc-minilm", "MRPC", PLAIN, plant=(3000.0, 2)),
    "mrpc 512": lambda s: real(s, "mrpc-minilm", "MRPC", {}, samples=512),
    **{f"timeout {t}": (lambda s, t=t: out_of_time(s, t)) for t in (60, 120)},
    "visible base": lambda _: visible("base"),
    "visible large": lambda _: visible("large"),
    **{f"hidden base {k}": (lambda _, k=k: hidden("base", k)) for k in (1, 3, 6)},
    **{f"hidden large {k}": (lambda _, k=k: hidden("large", k)) for k in (1, 3, 6)},
    "lowering": lambda _: lowering(),
    "memory fp32": lambda _: memory(tune=False),
    "memory tune": lambda _: memory(tune=True),
    "exhaustive": lambda _: exhaustive(),
}


def relative(loss: float) -> dict[str, Any]:
    """Return the configuration with that criterion."""
    return {"tuning": {"accuracy_criterion": {"relative": loss}}}


def main() -> None:
    """Run the cases, print each one's JSON as it comes, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CASES), metavar="NAME")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(CASES[arguments.case](arguments.shared)))
        return
    found: dict[str, dict[str, Any]] = {}
    for name in arguments.only:
        one = run(arguments.shared, name)
        if one is None:
            continue
        found[name] = one
        shown = {key: value for key, value in found[name].items() if key not in ("log", "trials")}
        print(name, json.dumps(shown), flush=True)
    text = table(found)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def run(shared: Path, name: str) -> dict[str, Any] | None:
    """Return a case's figures from a process of its own, for memory the median of three; None where it failed."""
    command = [sys.executable, __file__, str(shared), "--case", name]
    runs = []
    for _ in range(3 if name.startswith("memory") else 1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
        if done.returncode:
            print(f"{name}: failed\n{done.stderr[-3000:]}", file=sys.stderr)
            return None
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    peaks = sorted(one.get("peak_mb", 0.0) for one in runs)
    return {**runs[0], "peak_mb": peaks[1], "least_mb": peaks[0], "most_mb": peaks[2]} if len(runs) > 1 else runs[0]


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    from ilit_pytorch.engine import cpu

    here = cpu.describe()
    machine = f"{here.model}, {here.isa}, class {here.int8_class}, {here.threads} threads"
    versions = f"torch {version('torch')}, transformers {version('transformers')}"
    lines = [
        f"{machine}; {versions}; {datetime.date.today()}",
        "",
        "| case | asked | measured |",
        "|---|---|---|",
        *(f"| {name} | {_asked(name)} | {_measured(name, one)} |" for name, one in found.items()),
    ]
    return "\n".join(lines) + "\n"


ASKED = {
    "mrpc 0.01": "at most 3 evaluations, no Linear in float",
    "mrpc 0.005": "at most 4 evaluations, no Linear in float, bound below 1 %",
    "mrpc 0.01 plain": "the per-op search runs and passes",
    "mrpc 0.005 minmax": "the per-op search runs and passes",
    "mrpc 0.002": "passed, or missed with the closest; the interval",
    "sst2 0.005": "at most 3 evaluations, no Linear in float; the interval",
    "mrpc planted": "planted ops named, repaired or in float, nothing else",
    "mrpc planted few": "planted ops named, repaired or in float, nothing else",
    "mrpc planted plain": "planted ops named, repaired or in float, nothing else",
    "timeout": "ends by the timeout, at most 5 % later",
    "mrpc 512": "what the peers are given, see `peers-*.md`",
    "visible": "all found, at most 2 + ceil(log2 n) evaluations and 1 op more in float",
    "hidden": "all found, at most 2 + k (ceil(log2(n / k)) + 2) evaluations",
    "memory fp32": "",
    "memory tune": "at most 1.5 times the float32 evaluation's",
    "lowering": "cached under 5 ms, first under 20 ms",
    "exhaustive": "first trial at once, memory flat",
}


def _asked(name: str) -> str:
    return ASKED.get(name, ASKED.get(name.split(maxsplit=1)[0], ""))


def _measured(name: str, one: dict[str, Any]) -> str:
    if "statuses" in one:
        kinds = ", ".join(f"{count} {kind}" for kind, count in one["configs"].items())
        speed = f", {one['speedup']:.2f} times float32" if one["speedup"] else ""
        left = ", ".join(f"`{op}`" for op in one["float_linears"]) or "none"
        score = f"{one['accuracy']:.4f} of {one['baseline']:.4f}"
        verdict = f"{'passes' if one['met'] else 'misses'} {one['target']:.4f}"
        probes = (
            f"{one['probes']} probes in {one['probe_seconds']:.1f} s (float32 evaluation {one['fp32_seconds']:.1f} s)"
        )
        floor = f"{one['seconds']:.1f} s, {one['seconds'] / one['floor']:.2f} of the floor"
        named = f"; standing out: {', '.join(f'`{op}`' for op in one['named'])}" if one["named"] else ""
        outside = f"outside {one['outside']:.2f} s of {one['outside_allowed']:.2f} allowed"
        return (
            f"{score}, {verdict}; {one['evaluations']} evaluations ({', '.join(one['statuses'])}), {probes}; in float: "
            f"{left}; {kinds}{speed}; {floor}; {outside}; {one['calibration_passes']:g} calibration pass; "
            f"{one['verdict']}{named}"
        )
    if "found" in one:
        n, k = one["n"], one["k"]
        bound = 2 + math.ceil(math.log2(n)) if name.startswith("visible") else 2 + k * (math.ceil(math.log2(n / k)) + 2)
        return (
            f"{k} of {n} {'all found' if one['found'] else 'NOT all found'}, {one['more']} more in float, "
            f"{one['evaluations']} evaluations (bound {bound}), {one['seconds']:.0f} s"
        )
    return ", ".join(f"{key} {value:.2f}" for key, value in one.items())


if __name__ == "__main__":
    main()
