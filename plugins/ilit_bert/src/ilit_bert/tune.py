"""The work behind ``ilit bert tune``: checkpoint and task files in, a tuned folder and a report out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ilit.config import Config, Node, entries, from_python, from_yaml, read_config
from ilit.criterion import Criterion
from ilit.errors import EvaluationError, IlitWarning, MissedError, ModelError, RunError
from ilit.report import evaluation_rows, evidence_fields, score_in_full
from ilit.result import TrialRecord, TuneResult
from ilit.run import BEST, CLOSEST
from ilit.tuner import Tuner
from ilit_bert.batches import LengthBatches, calibration_loader, evaluation_loader, few_rows
from ilit_bert.checkpoint import load_float
from ilit_bert.first_score import first_score
from ilit_bert.folder import check_output, closest_folder, is_tuned, keep
from ilit_bert.metrics import tuning_metric
from ilit_bert.standing import objection
from ilit_bert.tasks import Task, find_task
from ilit_bert.tasks.labels import assumed_order, name_labels

JSON_KEYS = (
    "task", "metric", "baseline", "target", "accuracy", "passed", "drop", "drop_bound", "confidence", "fixed", "broken",
    "rows", "verdict", "evaluations", "probes", "seconds", "ops_total", "ops_float", "recipe", "latency_fp32_ms",
    "latency_int8_ms", "speedup", "size_fp32_bytes", "size_int8_bytes", "int8_kernels", "cpu", "output",
)  # fmt: skip
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
    """What came of it; the JSON of ``ilit bert tune`` has the keys in ``JSON_KEYS``.

    Attributes:
        task: official name of the task.
        metric: the metric tuned on.
        baseline: the float32 model's score.
        target: the score that passes.
        target_sentence: the same in words.
        accuracy: the kept model's score, None where no recipe was evaluated to the end.
        passed: whether the kept model meets the target and the objective.
        relative: the criterion is, so that drops are shares of the baseline; else they are in the metric's unit.
        drop: the score lost against float32, negative where INT8 is better; like the six figures that follow None
            where the metric gives no predictions to compare.
        drop_bound: what the true drop is at most.
        confidence: with which it is.
        fixed: rows wrong in float32 and right in INT8; None where answers are not simply right or wrong.
        broken: rows right in float32 and wrong in INT8; None likewise.
        rows: what was compared, or else evaluated.
        verdict: what that proves, in a sentence.
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
        front: recipes that met the criterion and that no other beats in score, time and size.
        notes: what the user was warned of.
    """

    task: str
    metric: str
    baseline: float
    target: float
    target_sentence: str
    accuracy: float | None
    passed: bool
    relative: bool
    drop: float | None
    drop_bound: float | None
    confidence: float | None
    fixed: int | None
    broken: int | None
    rows: int | None
    verdict: str | None
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
    front: int
    notes: tuple[str, ...]


def tune(job: TuneJob, on_batch: Callable[[int, int], None] | None = None) -> TuneReport:
    """Tune a checkpoint on a task and keep the model.

    A model that passes is kept in ``job.output``; where none did, the closest is kept beside it, in a folder whose
    name ends in ``-closest``, so that ``job.output`` never holds a model that missed.

    Args:
        job: what to do.
        on_batch: told, at each batch read from the evaluation data, its number and how many there are. The first pass
            is the float32 model's; later ones may work on the rows it kept and then read nothing anew.

    Raises:
        ilit.errors.IlitError: whatever is wrong with checkpoint, data, configuration or output folder, in one line.
        EvaluationError: the float32 model scores no better than a constant answer, and ``allow_weak_baseline`` is not
            set; see ``ilit_bert.standing``.
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
    report = _report(task, metric, tuner.result, tuner.config.criterion, tuple(notes))
    return _kept(job, report, tuner.result, tokenizer)


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint, and what its files were warned of."""

    model: Any
    tokenizer: Any
    doubts: tuple[str, ...]


def _tuned(
    job: TuneJob, task: Task, metric: str, loaded: _Loaded, on_batch: Callable[[int, int], None] | None
) -> tuple[Tuner, list[str]]:
    """Return the tuner after its run, and what was taken for granted of labels and rows."""
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

    def check(judge: Any, score: float) -> None:
        _check_baseline(job, task, judge, score, loaded)

    with contextlib.suppress(MissedError), first_score(len(evaluated.row_ids), check):
        tuner.tune(model, calibrated, eval_dataloader=_Watched(evaluated, on_batch), on_miss="raise")
    return tuner, [remark for remark in remarks if remark]


def _check_baseline(job: TuneJob, task: Task, judge: Any, score: float, loaded: _Loaded) -> None:
    """Refuse, or warn of, a float32 score that shows nothing of what the model knows.

    One that chance may have given is refused where the tokenizer's casing is in doubt: that explains it.
    """
    found = objection(task, judge, score, loaded.model.config)
    if found is None:
        return
    if (found.grave or loaded.doubts) and not job.allow_weak_baseline:
        told = "; ".join((found.text, *loaded.doubts))
        raise EvaluationError(f"{told}, or give --allow-weak-baseline to tune all the same")
    _log.warning("%s", found.text)
    warnings.warn(found.text, IlitWarning, stacklevel=2)


@dataclass(frozen=True)
class _Watched:
    """A loader that tells how far it has been read."""

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
    """Return calibration rows of the training split, as many as the longest calibration takes, and the dev split."""
    per_unit = {"rows": 1, "batches": job.batch_size}
    rows = max(size.count * per_unit[size.unit] for size in config.calibrations) if asked else None
    options: dict[str, Any] = {"batch_size": job.batch_size, "max_length": job.max_length}
    evaluated = evaluation_loader(task, job.data_dir, model, tokenizer, samples=job.eval_samples, **options)
    calibrated = calibration_loader(task, job.data_dir, model, tokenizer, rows=rows, seed=config.random_seed, **options)
    return calibrated, evaluated


def _names_calibration(conf: Path | Mapping[str, Any] | None) -> bool:
    """Return whether a configuration says how much data to calibrate on, so that it is a wish and no default."""
    if conf is None:
        return False
    if isinstance(conf, Mapping):
        return _holds_amount(from_python(conf))
    return _holds_amount(from_yaml(Path(conf).read_text(encoding="utf-8-sig"), str(conf)))


def _holds_amount(node: Node) -> bool:
    for entry in entries(node):
        if entry.path[-1] in ("calibration", "quantization"):
            if _holds_amount(entry):
                return True
        elif entry.path[-1] in ("samples", "iterations", "sampling_size"):
            return True
    return False


def _configured_metric(conf: Path | Mapping[str, Any] | None) -> str | None:
    """Return the formula that a configuration names, by itself or as ``ilit bert tune`` writes it into run folders."""
    named = read_config(conf).metric
    if named is None:
        return None
    return named.options.get("metric") if named.name in ("glue", "squad") else named.name


def _overrides(job: TuneJob, judged_by: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the job says over the configuration file."""
    tuning: dict[str, Any] = {"metric": judged_by}
    if job.seed is not None:
        tuning["random_seed"] = job.seed
    samples = job.calibration_samples
    return {"tuning": tuning, **({} if samples is None else {"calibration": {"samples": samples}})}


def _kept(job: TuneJob, report: TuneReport, result: TuneResult, tokenizer: Any) -> TuneReport:
    """Keep the model that passed, or the closest under its own name; return the report with the folder's name."""
    source = result.folder / (BEST if result.met else CLOSEST)
    output = job.output if result.met else closest_folder(job.output)
    if not source.is_dir():
        return report
    keep(source, output, tokenizer, _note(job, report))
    return replace(report, output=str(output))


def _note(job: TuneJob, report: TuneReport) -> str:
    """Return the model card's paragraph on the task, with the command that gives the score again."""
    flags = {"--max-length": job.max_length, "--batch-size": job.batch_size, "--eval-samples": job.eval_samples}
    given = "".join(f" {flag} {value}" for flag, value in flags.items() if value is not None)
    command = f"ilit bert evaluate --model . --task {report.task} --metric {report.metric}"
    command = f"{command} --data-dir {job.data_dir}{given}"
    return f"\n## Task\n\n{report.task}, judged by {report.metric}. The score again:\n\n```sh\n{command}\n```\n"


def _report(task: Task, metric: str, result: TuneResult, criterion: Criterion, notes: tuple[str, ...]) -> TuneReport:
    """Gather a run's figures; those of a forward pass are measured for recipes that pass only."""
    record = result.best or result.closest
    scored = record is not None and record.status != "pruned"
    ours, theirs = (record.cost, record.float_cost) if record else (None, None)
    return TuneReport(
        task=task.name,
        metric=metric,
        baseline=result.baseline,
        target=result.target,
        target_sentence=criterion.sentence(result.baseline),
        accuracy=record.accuracy if record and scored else None,
        passed=result.met,
        relative=criterion.kind == "relative",
        **evidence_fields(record, record.evidence if record else None),
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
        output=None,
        run=str(result.folder),
        front=len(result.front),
        notes=(*_remarks(record, result, criterion), *notes),
    )


def _remarks(record: TrialRecord | None, result: TuneResult, criterion: Criterion) -> list[str]:
    """Return what is to be known of the kept model beside its figures."""
    if record is None:
        return []
    remarks = [record.why_not] if record.why_not else []
    if record.status == "pruned":
        reached = score_in_full(record, criterion.higher_is_better, evaluation_rows(result.trials))
        remarks.append(f"{result.metric} is {reached}")
    return remarks
