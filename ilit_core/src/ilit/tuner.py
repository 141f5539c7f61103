"""``Tuner.tune``: from a float model and some data to an INT8 model within the tolerated loss, step by step."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import platform
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ilit.adapter import Adapter, Calibration, DescribesAll, DigestsModel, SetsThreads
from ilit.artefact import SavedModel, save_and_verify
from ilit.config import Config, read_config, resolved_yaml
from ilit.errors import ConfigError, IlitWarning, MissedError, UnsupportedError, one_line
from ilit.evaluation.sanity import ignores_model
from ilit.narrowing.limits import narrow
from ilit.narrowing.rules import apply_rules
from ilit.plugins.loaders import Data, gather
from ilit.plugins.registry import Registry, installed_plugins
from ilit.plugins.selection import Components, select_components
from ilit.report.card import write_card
from ilit.report.summary import summary_of_result, with_chosen
from ilit.report.verdict import sentence
from ilit.report.wording import left_in_float, score_in_full
from ilit.result import TrialRecord, TuneResult, with_record
from ilit.run.folder import (
    BEST,
    CALIBRATION,
    CLOSEST,
    FRONT_MODELS,
    JOURNAL,
    LOG,
    Clock,
    create_folder,
    lock_folder,
    try_folder,
)
from ilit.run.front import members, write_front
from ilit.run.journal import JournalWriter
from ilit.run.log import RunLog, run_log
from ilit.run.predictions import write_predictions
from ilit.run.records import Finished, Header
from ilit.run.state import Run
from ilit.search.baseline import RunClock, Scoring, assess, choose_scoring
from ilit.search.choice import best_of, closest_of, front_of
from ilit.search.context import RunContext
from ilit.search.loop import Budget, SearchEnd, search
from ilit.space import SearchSpace

__all__ = ["Tuner"]

OnMiss = Literal["none", "closest", "raise"]
_log = logging.getLogger(__name__)


class Tuner:
    """Finds an INT8 model that keeps the accuracy its owner tolerates.

    Attributes:
        config: the configuration as resolved.
        result: what the last ``tune`` found out, whether it met the criterion, missed it or was interrupted; None
            before, and where it ended before the first trial.
    """

    def __init__(
        self,
        conf: str | Path | Mapping[str, Any] | None = None,
        *,
        plugins: Registry | None = None,
        clock: Clock | None = None,
        **overrides: Any,
    ) -> None:
        """Read the configuration.

        Args:
            conf: a YAML file, or its content as a mapping.
            plugins: the parts to choose from; by default everything installed.
            clock: where times come from; for tests.
            overrides: configuration keys as keyword arguments; they win over ``conf``.

        Raises:
            ConfigError: an unknown key, a wrong value, with its place.
        """
        self.config: Config = read_config(conf, **overrides)
        self.result: TuneResult | None = None
        self._plugins = plugins
        self._clock = clock or Clock()

    def tune(
        self,
        model: Any,
        q_dataloader: Any,
        eval_dataloader: Any = None,
        eval_func: Callable[[Any], Any] | None = None,
        *,
        on_miss: OnMiss = "none",
    ) -> Any:
        """Return the best INT8 model that meets the criterion, or None.

        Exactly one of ``eval_dataloader`` (with a ``tuning.metric``) and ``eval_func`` is given. The model itself is
        never changed. Ctrl-C during the search ends it, and the best so far is returned.

        Args:
            model: a trained float model.
            q_dataloader: calibration data: iterable again and again, yielding ``(input, label)``.
            eval_dataloader: evaluation data of the same form.
            eval_func: ``eval_func(model)`` returns one finite number.
            on_miss: what to do where nothing met the criterion: ``none`` warns and returns None, ``closest`` warns
                and returns the model that came closest, ``raise`` raises.

        Raises:
            ConfigError: the configuration does not fit model, data or arguments.
            DataError: a loader that is empty, iterable only once, or does not fit the model.
            EvaluationError: the float model's score is no finite number, or the metric notices nothing.
            MissedError: nothing met the criterion and ``on_miss`` is ``raise``.
            RunError: ``run.folder`` cannot be written.
            ModelError: the model cannot be tuned, or ilit's float32 copy of it is another function.
            IlitError: the other classes of ``ilit.errors``, each in one line with its cure.
        """
        if on_miss not in ("none", "closest", "raise"):
            raise ConfigError(f"tune: on_miss is {on_miss!r}; give 'none', 'closest' or 'raise'")
        self.result = None
        plugins = self._plugins or installed_plugins()
        begun = self._clock.seconds()
        with run_log() as log:
            try_folder(self.config.run_folder)
            scoring = choose_scoring(self.config, eval_dataloader, eval_func, plugins)
            parts = select_components(self.config, model, plugins)
            data = gather(model, q_dataloader, eval_dataloader, plugins)
            with _threads(parts.adapter, self.config.threads):
                space = _describe(self.config, parts, model, data, plugins)
                with _folder(self.config, self._clock, log) as folder:
                    calibration = _calibrate(parts.adapter, model, data, space, folder)
                    run = RunClock(folder, self._clock.seconds, _deadline(self.config, begun))
                    context = assess(self.config, parts, scoring, model, data, space, calibration, run)
                    _write_baseline(context)
                    header = _header(self.config, parts, scoring, context, self._clock)
                    with contextlib.closing(JournalWriter(folder / JOURNAL, header)) as journal:
                        live = RunEvents(folder, header, plugins, journal)
                        live.started()
                        ending = _search(self.config, parts, context, journal, live)
                        self.result = _result(ending, context, header, folder, self._clock.seconds() - begun)
                        saved = _save_and_finish(self.result, ending, context, live)
        _warn_of_ignored_model(context)
        _warn_of_doubts(saved.doubts)
        if ending.error is not None:
            raise ending.error
        return saved.model if self.result.met else _missed(self.result, header, saved.model, on_miss)


def _deadline(config: Config, begun: float) -> float:
    """Return when the time is up: calibration and baseline count."""
    return begun + config.timeout if config.timeout > 0 else math.inf


def _write_baseline(context: RunContext) -> None:
    """Keep what recipes are compared with: the float model's predictions on the rows searched on, and the labels."""
    reference, folder = context.reference, context.folder
    if reference is None or folder is None:
        return
    write_predictions(folder, 0, reference.predictions)
    write_predictions(folder, "labels", reference.labels)
    if reference.units is not None:
        write_predictions(folder, "units", reference.units)


@contextlib.contextmanager
def _threads(adapter: Adapter, count: int | None) -> Iterator[None]:
    """Run with ``count`` threads where the configuration says so, and put the number back afterwards."""
    if count is None:
        yield
        return
    if not isinstance(adapter, SetsThreads):
        raise UnsupportedError(f"run.threads: adapter '{adapter.name}' cannot set threads; remove the key")
    before = adapter.cpu().threads
    adapter.set_threads(count)
    try:
        yield
    finally:
        adapter.set_threads(before)


def _describe(config: Config, parts: Components, model: Any, data: Data, plugins: Registry) -> SearchSpace:
    """Return the space that model, CPU, plugins' rules and the configuration allow."""
    adapter = parts.adapter
    if isinstance(adapter, DescribesAll):
        offered = adapter.describe_all(model, data.calibration, config.calibrations)
    else:
        offered = adapter.describe(model, data.example)
    space = narrow(apply_rules(offered, model, config, plugins), config)
    cpu = adapter.cpu()
    _log.info("%s, %s, class %s, %d threads", cpu.model, cpu.isa, cpu.int8_class, cpu.threads)
    _log.info(
        "%d ops; each may run in up to %d ways", len(space.ops), max(len(op.candidates) for op in space.ops.values())
    )
    for line in left_in_float(space.left_in_float):
        _log.info("%s", line)
    return space


@contextlib.contextmanager
def _folder(config: Config, clock: Clock, log: RunLog) -> Iterator[Path]:
    """Create the run folder, locked, with ``log.txt`` in it; what ends the run is written there too."""
    folder = create_folder(config.run_folder, resolved_yaml(config), clock.now())
    log.write_to(folder / LOG)
    lock = lock_folder(folder)
    try:
        yield folder
    except BaseException as error:
        _log.info("ended by %s", one_line(error), exc_info=True)
        raise
    finally:
        lock.release()


def _calibrate(adapter: Adapter, model: Any, data: Data, space: SearchSpace, folder: Path) -> Calibration:
    calibration = adapter.calibrate(model, data.calibration, space)
    calibration.save(folder / CALIBRATION)
    _log.info("calibrated on %d rows", calibration.rows)
    return calibration


def _header(config: Config, parts: Components, scoring: Scoring, context: RunContext, clock: Clock) -> Header:
    adapter, baseline = parts.adapter, context.baseline
    digests = {
        "config": hashlib.sha256(resolved_yaml(config).encode()).hexdigest(),
        "calibration": context.calibration.digest,
    }
    if isinstance(adapter, DigestsModel):
        digests["model"] = adapter.model_digest(context.model)
    return Header(
        created=clock.now().isoformat(timespec="seconds"),
        adapter=adapter.name,
        versions={"ilit": version("ilit-core"), "python": platform.python_version(), **adapter.versions()},
        cpu=adapter.cpu(),
        seed=config.random_seed,
        digests=digests,
        metric=scoring.name,
        criterion=context.criterion.sentence(baseline.accuracy),
        baseline=baseline.accuracy,
        target=baseline.target,
        higher_is_better=baseline.higher_is_better,
        strategy=parts.strategy.name,
        objective=parts.objective.name,
        max_trials=config.max_trials,
        ops=len(context.space.ops),
        recipes=context.space.size(),
        left_in_float=context.space.left_in_float,
    )


@dataclass
class RunEvents:
    """The run as event hooks see it while it goes on."""

    folder: Path
    header: Header
    plugins: Registry
    journal: JournalWriter
    trials: tuple[TrialRecord, ...] = ()

    def run(self) -> Run:
        """Return the run as far as it has come."""
        return Run(self.folder, self.header, self.trials)

    def started(self) -> None:
        """Tell that the search begins."""
        self.plugins.notify("ilit_run_started", run=self.run())

    def trial_finished(self, record: TrialRecord) -> None:
        """Log one record, and tell of it."""
        score = score_in_full(record, self.header.higher_is_better) or "-"
        about = "; ".join(part for part in (record.why_not, record.why) if part)
        _log.info(
            "trial %d %s: %s %s, %.1f s; %s",
            record.number,
            record.status,
            self.header.metric,
            score,
            record.seconds,
            about,
        )
        self.trials = with_record(self.trials, record)
        self.plugins.notify("ilit_trial_finished", run=self.run(), trial=record)

    def finished(self, result: TuneResult, reason: str) -> None:
        """Write the run's end into journal and front, and tell of it."""
        end = Finished(
            reason,
            result.met,
            best=result.best.number if result.best else None,
            closest=result.closest.number if result.closest else None,
            interrupted=result.interrupted,
            seconds=result.seconds,
        )
        _log.info("ended: %s", reason)
        front = members(result.front)
        state: Literal["interrupted", "finished"] = "interrupted" if result.interrupted else "finished"
        run = replace(self.run(), finished=end, front=front, state=state)
        try:
            self.journal.append(end)
            write_front(self.folder, front)
        finally:
            self.plugins.notify("ilit_run_finished", run=run, result=result)


def _search(
    config: Config, parts: Components, context: RunContext, journal: JournalWriter, live: RunEvents
) -> SearchEnd:
    limits = Budget(config.max_trials, config.timeout, config.stop == "met")
    rng = random.Random(config.random_seed)  # noqa: S311 - a search, not a secret
    return search(context, parts.strategy, rng, parts.executor, limits, journal, live.trial_finished)


def _result(ending: SearchEnd, context: RunContext, header: Header, folder: Path, seconds: float) -> TuneResult:
    best = best_of(ending.trials, context.objective, context.criterion)
    closest = best or closest_of(ending.trials, context.criterion, header.baseline)
    proof = closest.evidence if closest else None
    if proof is not None:
        _log.info("%s", sentence(proof))
    return TuneResult(
        met=best is not None,
        reason=ending.reason,
        metric=header.metric,
        baseline=header.baseline,
        target=header.target,
        best=best,
        closest=closest,
        trials=ending.trials,
        front=front_of(ending.trials, context.criterion),
        probes=ending.probes,
        evaluations=1 + sum(record.accuracy is not None for record in ending.trials),
        seconds=seconds,
        cpu=header.cpu,
        folder=folder,
        interrupted=ending.interrupted,
        evidence=proof,
        left_in_float=dict(header.left_in_float),
        criterion=header.criterion,
        higher_is_better=header.higher_is_better,
    )


@dataclass(frozen=True)
class _Saved:
    """The chosen recipe's model, None where nothing was evaluated, and what could not be proven of the files."""

    model: Any = None
    doubts: tuple[str, ...] = ()


def _save_and_finish(result: TuneResult, ending: SearchEnd, context: RunContext, live: RunEvents) -> _Saved:
    """Save the best or the closest model, read it back, then tell journal and plugins that the run is over."""
    try:
        saved = _save(result, context, live.header)
    except BaseException as error:
        _finish(live, result, f"{ending.reason}; the model could not be kept: {one_line(error)}")
        if ending.error is not None:
            raise ending.error from error
        raise
    doubt = _finish(live, result, "; ".join([ending.reason, *saved.doubts]))
    return replace(saved, doubts=(*saved.doubts, doubt)) if doubt else saved


def _finish(live: RunEvents, result: TuneResult, reason: str) -> str:
    """Tell that the run is over; return what kept the run folder from taking it, in one line."""
    try:
        live.finished(result, reason)
    except Exception as error:  # noqa: BLE001 - the model is there, and must not be lost to a full disk
        _log.info("the run's end could not be written", exc_info=True)
        return f"{live.folder}: the end of the run could not be written ({one_line(error)})"
    return ""


def _save(result: TuneResult, context: RunContext, header: Header) -> _Saved:
    """Save the chosen recipe's model, and those of the other members of the front; return the chosen one."""
    chosen = result.best or result.closest
    if chosen is None:
        return _Saved()
    summary = summary_of_result(result)
    card = partial(write_card, header=header, summary=summary)
    saved = _keep_one(chosen, context, card, result.folder / (BEST if result.met else CLOSEST))
    doubts = [saved.doubt]
    for record in result.front:
        if record.number != chosen.number:
            folder = result.folder / FRONT_MODELS / f"{record.number:03d}"
            try:
                card = partial(write_card, header=header, summary=with_chosen(summary, record.number))
                doubts.append(_keep_one(record, context, card, folder).doubt)
            except Exception as error:  # noqa: BLE001 - the chosen model is there, and must not be lost to another
                doubts.append(f"{folder}: the model cannot be made again ({one_line(error)}); see {LOG}")
                _log.info("%s", doubts[-1], exc_info=True)
    return _Saved(saved.model, tuple(filter(None, doubts)))


def _keep_one(record: TrialRecord, context: RunContext, add_card: Callable[[Path], None], folder: Path) -> SavedModel:
    """Lower a recipe anew, since an ``eval_func`` may have changed the model it was given, and keep the model."""
    lowered = context.adapter.lower(context.model, record.recipe, context.calibration)
    return save_and_verify(context.adapter, lowered, context.model, folder, context.sample, add_card)


def _warn_of_doubts(doubts: tuple[str, ...]) -> None:
    """Say what could not be proven of the saved models."""
    for doubt in doubts:
        warnings.warn(doubt, IlitWarning, stacklevel=3)


def _warn_of_ignored_model(context: RunContext) -> None:
    """Warn where an ``eval_func`` gives the same score whatever model it is given."""
    if not context.suspects:
        return
    score = context.baseline.accuracy
    try:
        deaf = ignores_model(context.scorer, context.adapter.zeroed(context.float_model), score)
    except Exception as error:  # noqa: BLE001 - the model is there, and must not be lost to a check
        _log.info("whether eval_func notices its model is not known: %s", one_line(error), exc_info=True)
        return
    if deaf:
        message = (
            f"eval_func: gives {score!r} for the float32 model, for an INT8 model whose outputs differ (trial "
            f"{context.suspects[0]}), and for a model of zeros; check that it evaluates the model it is given"
        )
        warnings.warn(message, IlitWarning, stacklevel=3)


def _missed(result: TuneResult, header: Header, closest: Any, on_miss: OnMiss) -> Any:
    """Say once that nothing met the criterion, how near the closest came, and how to get it."""
    message = miss_message(result, header.criterion)
    if on_miss == "raise":
        raise MissedError(message)
    warnings.warn(message, IlitWarning, stacklevel=3)
    return closest if on_miss == "closest" else None


def miss_message(result: TuneResult, criterion: str) -> str:
    """Return what a run that met nothing says, in one line."""
    closest = result.closest
    asked = f"no recipe met {result.metric} {criterion} ({result.reason})"
    if closest is None:
        failed = [record.reason for record in result.trials if record.reason]
        why = f"; the first failed with: {failed[0]}" if failed else ""
        return f"{asked}; none could be evaluated{why}; see {result.folder / LOG}"
    against = f", and passes, but {closest.objection}" if closest.objection else ""
    scores = score_in_full(closest, result.higher_is_better)
    saved = (result.folder / CLOSEST).is_dir()
    where = f"is saved in {result.folder / CLOSEST}: get it by ilit.load or" if saved else "is not saved: get it by"
    return f"{asked}; the closest, trial {closest.number}, scores {scores}{against}; it {where} on_miss='closest'"
