"""The work behind ``ilit bert benchmark``: a tuned model's speed, size and memory beside its float checkpoint's."""

from __future__ import annotations

import contextlib
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

from ilit.artefact import load
from ilit.errors import ConfigError, ModelError, one_line
from ilit_bert.checkpoints.folder import is_tuned
from ilit_bert.checkpoints.loading import load_plain, quiet
from ilit_bert.measuring.figures import DYNAMIC, FP32, INT8, Benchmark, Case
from ilit_bert.measuring.fresh_load import Form, load_costs
from ilit_bert.measuring.passes import interleave
from ilit_pytorch import PyTorchAdapter

USUAL_LENGTH = 128
Step = Callable[[int, int], None]
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class BenchmarkJob:
    """Two models and the options of ``ilit bert benchmark``.

    Attributes:
        model: folder of a float checkpoint, or hub id.
        int8: folder of a model tuned from it; None measures float32 alone.
        batch_sizes: rows of a batch, a case each.
        seq_lengths: tokens of a row, a case each; None for 128, or as many as the model has positions.
        threads: of this process; None leaves torch's own number.
        repeats: timed passes of each model in a case; None for about three seconds.
        dynamic: torch's ``quantize_dynamic`` takes turns too, for comparison.
        loads: fresh processes that load each model; 0 measures neither load time nor memory.
        seed: of the random tokens.
    """

    model: str | Path
    int8: Path | None = None
    batch_sizes: Sequence[int] = (1, 8)
    seq_lengths: Sequence[int] | None = None
    threads: int | None = None
    repeats: int | None = None
    dynamic: bool = True
    loads: int = 3
    seed: int = 9527


def benchmark(job: BenchmarkJob, on_step: Step | None = None) -> Benchmark:
    """Measure a float checkpoint and a tuned model, in turns in one process; each one's loading in fresh ones.

    Args:
        job: models and options.
        on_step: called with cases done and their number.

    Raises:
        ilit.errors.IlitError: whatever is wrong with models or options, in one line.
    """
    _check(job)
    adapter = PyTorchAdapter()
    with _threads(job.threads):
        models, notes = _models(job)
        lengths = _lengths(job, models[FP32])
        cases = []
        grid = [(rows, length) for rows in job.batch_sizes for length in lengths]
        for done, (rows, length) in enumerate(grid, start=1):
            batch = _tokens(models[FP32].config, rows, length, job.seed)
            cases.append(Case(rows, length, _seconds(models, batch, job.repeats)))
            if on_step is not None:
                on_step(done, len(grid))
        sources: dict[Form, str] = {"fp32": str(job.model), **({"int8": str(job.int8)} if job.int8 else {})}
        example = (_tokens(models[FP32].config, 1, min(lengths), job.seed), None)
        return Benchmark(
            model=str(job.model),
            int8=str(job.int8) if job.int8 else None,
            cases=cases,
            sizes={form: adapter.measure(models[form], example).bytes for form in sources},
            files={form: size for form, source in sources.items() if (size := _weights_on_disk(Path(source)))},
            loads=load_costs(sources, job.loads, torch.get_num_threads()) if job.loads else {},
            int8_kernels=adapter.int8_kernels(models[INT8]) if job.int8 else None,
            cpu=adapter.cpu(),
            versions=_versions(adapter),
            notes=[*notes, *_notes(cases)],
        )


def _check(job: BenchmarkJob) -> None:
    """Check what can be checked before any model is loaded."""
    allowed = len(os.sched_getaffinity(0))
    if job.threads is not None and not 1 <= job.threads <= allowed:
        raise ConfigError(
            f"threads {job.threads}: this process may use 1 to {allowed} CPUs; choose a number among these"
        )
    for name, values in (("batch size", job.batch_sizes), ("sequence length", job.seq_lengths or (1,))):
        for value in values:
            if value < 1:
                raise ConfigError(f"{name} {value}: at least 1 is needed")
    if is_tuned(job.model):
        raise ModelError(f"{job.model}: is a tuned model; give its float checkpoint as --model, and this as --int8")
    if job.int8 is not None and not is_tuned(job.int8):
        raise ModelError(f"{job.int8}: holds no tuned model; give the folder that ilit bert tune wrote")


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Run with ``count`` threads, and put the number back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _models(job: BenchmarkJob) -> tuple[dict[str, Any], list[str]]:
    """Return the models that take turns, and why one that should does not."""
    models: dict[str, Any] = {FP32: load_plain(job.model)}
    if job.int8 is not None:
        with quiet():
            models[INT8] = load(job.int8)
        _check_related(job, models)
    if not job.dynamic:
        return models, []
    try:
        models[DYNAMIC] = quantize_dynamic(models[FP32])
        with torch.no_grad():
            models[DYNAMIC](**_tokens(models[FP32].config, 1, 1, job.seed))
    except Exception as error:  # noqa: BLE001 - it is a comparison, and not asked for by itself
        models.pop(DYNAMIC, None)
        return models, [f"torch's quantize_dynamic does not work here, so it is left out ({one_line(error)})"]
    return models, []


def quantize_dynamic(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy whose Linears are what torch's own one line makes of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated since torch 2.10, and still what most people compare with
        one_line_of_torch: Callable[..., torch.nn.Module] = torch.ao.quantization.quantize_dynamic
        return one_line_of_torch(model, {torch.nn.Linear}, dtype=torch.qint8)


def _check_related(job: BenchmarkJob, models: Mapping[str, Any]) -> None:
    """Refuse models of two architectures, whose times say nothing of each other."""
    for name in ("architectures", "num_hidden_layers", "hidden_size", "dim", "vocab_size"):
        ours, theirs = (getattr(models[form].config, name, None) for form in (INT8, FP32))
        if ours != theirs:
            raise ModelError(
                f"{job.int8}: its {name} is {ours}, that of {job.model} {theirs}; give the checkpoint it was tuned from"
            )


def _lengths(job: BenchmarkJob, model: Any) -> Sequence[int]:
    """Return the lengths to measure, each of which the model has positions for."""
    limit = positions(model)
    if job.seq_lengths is None:
        return (min(USUAL_LENGTH, limit or USUAL_LENGTH),)
    for length in job.seq_lengths:
        if limit is not None and length > limit:
            raise ConfigError(f"sequence length {length}: {job.model} takes 1 to {limit} tokens; choose among these")
    return job.seq_lengths


def positions(model: Any) -> int | None:
    """Return the most tokens a row may have; None where the model sets no limit.

    RoBERTa and its kin count positions from beyond that of padding, so that a table of 514 is for 512 tokens.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    return limit


def _tokens(config: Any, rows: int, length: int, seed: int) -> Batch:
    """Return random tokens, int64 (rows, length), none of them padding, with the mask that says so."""
    tokens = torch.randint(config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))
    padding = getattr(config, "pad_token_id", None)
    if padding is not None:
        tokens[tokens == padding] = (padding + 1) % config.vocab_size
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _seconds(models: Mapping[str, Any], batch: Batch, repeats: int | None) -> dict[str, list[float]]:
    with torch.no_grad():
        return interleave({name: partial(model, **batch) for name, model in models.items()}, repeats)


def _weights_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _versions(adapter: PyTorchAdapter) -> dict[str, str]:
    own = {"ilit": version("ilit-core"), "python": platform.python_version()}
    return {**own, **adapter.versions(), "transformers": transformers.__version__}


def _notes(cases: Sequence[Case]) -> list[str]:
    return [
        f"batch {case.batch_size} x {case.seq_length}: the machine was busy, passes of one model differ by more than "
        "a tenth (median absolute deviation); the ratio holds better than the times, but quote neither before you "
        "have measured again on a quiet machine"
        for case in cases
        if case.is_busy
    ]
