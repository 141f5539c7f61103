"""The work behind ``ilit bert tune``: checkpoint and task files in, a tuned folder and a report out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ilit
from ilit.config import Config, read_config
from ilit.errors import ModelError
from ilit.result import TrialRecord, TuneResult
from ilit.run import BEST, CLOSEST
from ilit_bert.batches import calibration_loader, evaluation_loader
from ilit_bert.checkpoint import load_float
from ilit_bert.folder import check_output, closest_folder, is_tuned, keep
from ilit_bert.metrics import tuning_metric
from ilit_bert.tasks import Task, find_task

@dataclass(frozen=True)
class TuneJob:
    """What ``ilit bert tune`` is asked for; None leaves a choice to the configuration, the task or the model.

    Attributes:
        model: folder of a float checkpoint, or an id on the Hugging Face hub.
        task: name of the task.
        data_dir: folder with the task's files.
        output: folder for the tuned model.
        config: a YAML file, or a mapping of the same shape; relative loss 0.01 and strategy basic by default.
        metric: one of the task's metrics.
        max_length: tokens of an input at most; 128 by default, 384 for SQuAD.
        batch_size: rows of a batch.
        calibration_samples: rows of the training split to calibrate on; 128 by default.
        eval_samples: only the first so many examples of the dev split.
        seed: 9527 by default.
    """

    model: str
    task: str
    data_dir: Path
    output: Path
    config: Path | Mapping[str, Any] | None = None
    metric: str | None = None
    max_length: int | None = None
    batch_size: int = 32
    calibration_samples: int | None = None
    eval_samples: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class TuneReport:
    """What came of it; the JSON of ``ilit bert tune`` has these keys.

    Attributes:
        task: official name of the task.
        metric: the metric tuned on.
        baseline: the float32 model's score.
        target: the score that passes.
        target_sentence: the same in words.
        accuracy: the kept model's score, None where no recipe could be evaluated.
        passed: whether the kept model meets the target and the objective.
        reason: why the search ended.
        interrupted: Ctrl-C ended the search.
        evaluations: full ones, the baseline's included.
        probes: recipes probed.
        seconds: wall time of the search.
        ops_total: quantizable operations.
        ops_float: names of those that stay in float32.
        recipe: the kept model's recipe as JSON.
        latency_fp32_ms: median of a forward pass over one batch, milliseconds; None for a recipe that missed.
        latency_int8_ms: the same of the kept model, from passes interleaved with float32's.
        speedup: the first over the second.
        size_fp32_bytes: parameters and buffers of the float32 model; None for a recipe that missed.
        size_int8_bytes: the same of the kept model, packed weights included.
        int8_kernels: INT8 kernels one forward pass runs.
        cpu: what it ran on.
        output: the folder the model was kept in, None where there is none.
        run: the run folder.
    """

    task: str
    metric: str
    baseline: float
    target: float
    target_sentence: str
    accuracy: float | None
    passed: bool
    reason: str
    interrupted: bool
    evaluations: int
    probes: int
    seconds: float
    ops_total: int
    ops_float: tuple[str, ...]
    recipe: dict[str, Any] | None
    latency_fp32_ms: float | None
    latency_int8_ms: float | None
    speedup: float | None
    size_fp32_bytes: int | None
    size_int8_bytes: int | None
    int8_kernels: int
    cpu: dict[str, Any]
    output: str | None
    run: str


def tune(job: TuneJob) -> TuneReport:
    """Tune a checkpoint on a task and keep the model.

    A model that passes is kept in ``job.output``; where none did, the closest is kept beside it, in a folder whose
    name ends in ``-closest``, so that ``job.output`` never holds a model that missed.

    Raises:
        ilit.errors.IlitError: whatever is wrong with checkpoint, data, configuration or output folder, in one line.
    """
    task = find_task(job.task)
    metric = task.metric_named(job.metric)
    check_output(job.output)
    if is_tuned(job.model):
        raise ModelError(f"{job.model}: is tuned already; name the float checkpoint it was made from")
    model, tokenizer = load_float(job.model, task.kind)
    options = {"batch_size": job.batch_size, "max_length": job.max_length}
    judged_by = tuning_metric(task, model, tokenizer, job.data_dir, job.model, metric, job.max_length)
    overrides = _overrides(job, judged_by)
    config = read_config(job.config, **overrides)
    evaluated = evaluation_loader(task, job.data_dir, model, tokenizer, samples=job.eval_samples, **options)
    calibrated = calibration_loader(
        task, job.data_dir, model, tokenizer, rows=_rows(config, job), seed=config.random_seed, **options
    )
    tuner = ilit.Tuner(job.config, **overrides)
    tuner.tune(model, calibrated, eval_dataloader=evaluated)
    result = tuner.result
    return _kept(job, task, metric, result, config, tokenizer)


def _overrides(job: TuneJob, judged_by: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the job says over the configuration file."""
    tuning: dict[str, Any] = {"metric": judged_by}
    if job.seed is not None:
        tuning["random_seed"] = job.seed
    samples = job.calibration_samples
    return {"tuning": tuning, **({} if samples is None else {"calibration": {"samples": samples}})}


def _rows(config: Config, job: TuneJob) -> int:
    """Return how many rows the longest calibration takes."""
    per_unit = {"rows": 1, "batches": job.batch_size}
    return max(size.count * per_unit[size.unit] for size in config.calibrations)


def _kept(job: TuneJob, task: Task, metric: str, result: TuneResult, config: Config, tokenizer: Any) -> TuneReport:
    """Keep the model that passed, or the closest under its own name, and report."""
    record = result.best or result.closest
    source = result.folder / (BEST if result.best else CLOSEST)
    output = job.output if result.best else closest_folder(job.output)
    sentence = config.criterion.sentence(result.baseline)
    report = _report(task, metric, result, record, sentence, str(output) if source.is_dir() else None)
    if report.output is not None:
        keep(source, output, tokenizer, _note(job, task, metric))
    return report


def _note(job: TuneJob, task: Task, metric: str) -> str:
    """Return the model card's paragraph on the task, with the command that gives the score again."""
    flags = {"--max-length": job.max_length, "--batch-size": job.batch_size, "--eval-samples": job.eval_samples}
    given = "".join(f" {flag} {value}" for flag, value in flags.items() if value is not None)
    command = f"ilit bert evaluate --model . --task {task.name} --metric {metric} --data-dir {job.data_dir}{given}"
    return f"\n## Task\n\n{task.name}, judged by {metric}. The score again:\n\n```sh\n{command}\n```\n"


def _report(
    task: Task, metric: str, result: TuneResult, record: TrialRecord | None, sentence: str, output: str | None
) -> TuneReport:
    """Gather a run's figures; those of a forward pass are measured for recipes that pass only."""
    ours, theirs = (record.cost, record.float_cost) if record else (None, None)
    return TuneReport(
        task=task.name,
        metric=metric,
        baseline=result.baseline,
        target=result.target,
        target_sentence=sentence,
        accuracy=record.accuracy if record else None,
        passed=result.met,
        reason=result.reason,
        interrupted=result.interrupted,
        evaluations=result.evaluations,
        probes=result.probes,
        seconds=result.seconds,
        ops_total=len(record.recipe.ops) if record else 0,
        ops_float=record.recipe.float_ops if record else (),
        recipe=record.recipe.to_json() if record else None,
        latency_fp32_ms=theirs.seconds * 1e3 if theirs else None,
        latency_int8_ms=ours.seconds * 1e3 if ours else None,
        speedup=theirs.seconds / ours.seconds if ours and theirs else None,
        size_fp32_bytes=theirs.bytes if theirs else None,
        size_int8_bytes=ours.bytes if ours else None,
        int8_kernels=record.int8_kernels if record else 0,
        cpu=asdict(result.cpu),
        output=output,
        run=str(result.folder),
    )
