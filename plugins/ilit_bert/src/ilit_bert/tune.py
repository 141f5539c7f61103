"""The work behind ``ilit bert tune``: checkpoint and task files in, a tuned folder and a report out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ilit.config import Config, keys_given, read_config
from ilit.errors import EvaluationError, IlitWarning, MissedError, ModelError, RunError
from ilit.report import Summary, summary_of_result
from ilit.run import BEST, CLOSEST
from ilit.tuner import Tuner
from ilit_bert.checkpoints.folder import check_output, closest_folder, is_tuned, save_tuned
from ilit_bert.checkpoints.loading import load_float
from ilit_bert.data.length_batches import LengthBatches
from ilit_bert.data.loaders import calibration_loader, evaluation_loader, few_rows
from ilit_bert.metrics.first_score import first_score
from ilit_bert.metrics.table import tuning_metric
from ilit_bert.score_check.objection import objection
from ilit_bert.tasks.labels import assumed_order, name_labels
from ilit_bert.tasks.table import Task, find_task

_log = logging.getLogger("ilit.bert")


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
        calibration_samples: rows of the training split to calibrate on; 128 by default, or all where it has fewer.
        eval_samples: only the first so many examples of the dev split.
        seed: 9527 by default.
        labels: what the checkpoint's ids stand for, in their order; by default what its configuration names them.
        allow_weak_baseline: tune a float32 model as well that scores no better than a constant answer.
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
    labels: tuple[str, ...] | None = None
    allow_weak_baseline: bool = False


@dataclass(frozen=True)
class TuneReport:
    """A run's result on a task.

    Attributes:
        task: its official name.
        summary: the run's figures.
        notes: what the user was warned of.
        output: the folder the model was saved in, None where there is none.
    """

    task: str
    summary: Summary
    notes: tuple[str, ...] = ()
    output: Path | None = None


def tune(job: TuneJob, on_batch: Callable[[int, int], None] | None = None) -> TuneReport:
    """Tune a checkpoint on a task and save the model.

    A model that passes is saved in ``job.output``; where none did, the closest is saved beside it, in a folder whose
    name ends in ``-closest``, so that ``job.output`` never holds a model that missed.

    Args:
        job: checkpoint, task and options.
        on_batch: called at each batch read from the evaluation data with its number and the number of batches. The
            first pass is the float32 model's; later ones may work on cached rows and then read nothing anew.

    Raises:
        ilit.errors.IlitError: whatever is wrong with checkpoint, data, configuration or output folder, in one line.
        EvaluationError: the float32 model scores no better than a constant answer, and ``allow_weak_baseline`` is not
            set; see ``ilit_bert.score_check.objection``.
    """
    task = find_task(job.task)
    metric = task.metric_named(job.metric or _configured_metric(job.config))
    check_output(job.output)
    if is_tuned(job.model):
        raise ModelError(f"{job.model}: is tuned already; name the float checkpoint it was made from")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IlitWarning)
        model, tokenizer = load_float(job.model, task.kind)
        if job.labels is not None:
            name_labels(model.config, job.labels, task)
        loaded = _Loaded(model, tokenizer, tuple(str(warning.message) for warning in caught))
        tuner, remarks = _tuned(job, task, metric, loaded, on_batch)
    if tuner.result is None:
        raise RunError(f"{job.model}: the run ended before its first trial, so there is nothing to keep")
    notes = dict.fromkeys((*remarks, *(str(warning.message) for warning in caught)))
    summary = summary_of_result(tuner.result)
    return _with_saved_model(job, TuneReport(task.name, summary, (*_remarks(summary), *notes)), tokenizer)


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint, and the warnings about its files."""

    model: Any
    tokenizer: Any
    doubts: tuple[str, ...]


def _tuned(
    job: TuneJob, task: Task, metric: str, loaded: _Loaded, on_batch: Callable[[int, int], None] | None
) -> tuple[Tuner, list[str]]:
    """Return the tuner after its run, and remarks on assumptions about labels and rows."""
    model, tokenizer = loaded.model, loaded.tokenizer
    judged_by = tuning_metric(
        task, model, tokenizer, data_dir=job.data_dir, source=job.model, metric=metric, max_length=job.max_length
    )
    overrides = _overrides(job, judged_by)
    asked = job.calibration_samples is not None or _names_calibration(job.config)
    calibrated, evaluated = _loaders(job, task, model, tokenizer, read_config(job.config, **overrides), asked)
    remarks = [assumed_order(task, model.config)]
    if not asked:
        rows = len(calibrated.row_ids)
        remarks.append(few_rows(task, rows))
        overrides["calibration"] = {"samples": rows}
    tuner = Tuner(job.config, **overrides)

    def check(metric: Any, score: float) -> None:
        _check_baseline(job, task, metric, score, loaded)

    with contextlib.suppress(MissedError), first_score(len(evaluated.row_ids), check):
        tuner.tune(model, calibrated, eval_dataloader=_Watched(evaluated, on_batch), on_miss="raise")
    return tuner, [remark for remark in remarks if remark]


def _check_baseline(job: TuneJob, task: Task, metric: Any, score: float, loaded: _Loaded) -> None:
    """Refuse, or warn of, a float32 score that shows nothing of what the model knows.

    One that chance may have given is refused where the tokenizer's casing is in doubt: that explains it.
    """
    found = objection(task, metric, score, loaded.model.config)
    if found is None:
        return
    if (found.grave or loaded.doubts) and not job.allow_weak_baseline:
        told = "; ".join((found.text, *loaded.doubts))
        raise EvaluationError(f"{told}, or give --allow-weak-baseline to tune all the same")
    _log.warning("%s", found.text)
    warnings.warn(found.text, IlitWarning, stacklevel=2)


@dataclass(frozen=True)
class _Watched:
    """A loader that reports each batch read."""

    loader: LengthBatches
    on_batch: Callable[[int, int], None] | None

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self.loader, start=1):
            yield batch
            if self.on_batch is not None:
                self.on_batch(number, len(self.loader))


def _loaders(
    job: TuneJob, task: Task, model: Any, tokenizer: Any, config: Config, asked: bool
) -> tuple[LengthBatches, LengthBatches]:
    """Load calibration rows of the training split, as many as the longest calibration takes, and the dev split."""
    per_unit = {"rows": 1, "batches": job.batch_size}
    rows = max(size.count * per_unit[size.unit] for size in config.calibrations) if asked else None
    options: dict[str, Any] = {"batch_size": job.batch_size, "max_length": job.max_length}
    evaluated = evaluation_loader(task, job.data_dir, model, tokenizer, samples=job.eval_samples, **options)
    calibrated = calibration_loader(task, job.data_dir, model, tokenizer, rows=rows, seed=config.random_seed, **options)
    return calibrated, evaluated


def _names_calibration(conf: Path | Mapping[str, Any] | None) -> bool:
    """Return whether a configuration says how much data to calibrate on, so that it is a wish and no default."""
    return not keys_given(conf).isdisjoint({"calibration.samples", "calibration.iterations"})


def _configured_metric(conf: Path | Mapping[str, Any] | None) -> str | None:
    """Return the formula that a configuration names, by itself or as ``ilit bert tune`` writes it into run folders."""
    named = read_config(conf).metric
    if named is None:
        return None
    return named.options.get("metric") if named.name in ("glue", "squad") else named.name


def _overrides(job: TuneJob, judged_by: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the job that override the configuration file."""
    tuning: dict[str, Any] = {"metric": judged_by}
    if job.seed is not None:
        tuning["random_seed"] = job.seed
    samples = job.calibration_samples
    return {"tuning": tuning, **({} if samples is None else {"calibration": {"samples": samples}})}


def _with_saved_model(job: TuneJob, report: TuneReport, tokenizer: Any) -> TuneReport:
    """Save the model that passed, or the closest under its own name; return the report with the folder's name."""
    summary = report.summary
    source = summary.folder / (BEST if summary.passed else CLOSEST)
    output = job.output if summary.passed else closest_folder(job.output)
    if not source.is_dir():
        return report
    save_tuned(source, output, tokenizer, _note(job, report))
    return replace(report, output=output)


def _note(job: TuneJob, report: TuneReport) -> str:
    """Return the model card's paragraph on the task, with the command that gives the score again."""
    flags = {"--max-length": job.max_length, "--batch-size": job.batch_size, "--eval-samples": job.eval_samples}
    given = "".join(f" {flag} {value}" for flag, value in flags.items() if value is not None)
    metric = report.summary.asked.metric
    command = f"ilit bert evaluate --model . --task {report.task} --metric {metric}"
    command = f"{command} --data-dir {job.data_dir}{given}"
    return f"\n## Task\n\n{report.task}, judged by {metric}. The score again:\n\n```sh\n{command}\n```\n"


def _remarks(summary: Summary) -> list[str]:
    """Return the notes on the saved model: the objection to it, and that its score is only a bound."""
    trial = summary.chosen
    bound = f"{summary.asked.metric} is {trial.reached}" if trial.stopped else ""
    return [remark for remark in (trial.objection, bound) if remark]
