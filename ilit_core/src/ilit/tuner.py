"""``Tuner.tune``: from a float model and some data to an INT8 model within the tolerated loss, step by step."""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ilit.adapter import Adapter, Calibration, DescribesAll, SetsThreads
from ilit.artefact.saving import SavedModels, save_models
from ilit.config import Config, read_config, resolved_yaml
from ilit.errors import ConfigError, MissedError, UnsupportedError, one_line, warn
from ilit.narrowing.limits import narrow
from ilit.narrowing.rules import apply_rules
from ilit.plugins.loaders import Data, gather
from ilit.plugins.registry import Registry, installed_plugins
from ilit.plugins.selection import Parts, choose_scoring, select_parts
from ilit.report.verdict import sentence
from ilit.report.wording import left_in_float, miss_message
from ilit.result import TuneResult
from ilit.run.folder import CALIBRATION, LOG, Clock, create_folder, lock_folder, try_folder
from ilit.run.log import RunLog, run_log
from ilit.search.baseline import evaluate_baseline, models_of
from ilit.search.choice import best_of, closest_of, front_of
from ilit.search.context import RunClock, RunContext, header_of
from ilit.search.ledger import Ledger, open_ledger
from ilit.search.loop import Budget, SearchEnd, search
from ilit.search.trial import trial_of_ignored_model
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
        """Return the best INT8 model that meets the criterion and is accepted by the objective, or None.

        Exactly one of ``eval_dataloader`` (with a ``tuning.metric``) and ``eval_func`` is given. The model itself is
        never changed. Ctrl-C during the search ends it, and the best so far is returned.

        Args:
            model: a trained float model.
            q_dataloader: calibration data: iterable again and again, yielding ``(input, label)``.
            eval_dataloader: evaluation data of the same form.
            eval_func: ``eval_func(model)`` returns one finite number.
            on_miss: what to do where no recipe was accepted: ``none`` warns and returns None, ``closest`` warns
                and returns the model that came closest, ``raise`` raises.

        Raises:
            ConfigError: the configuration does not fit model, data or arguments.
            DataError: a loader that is empty, iterable only once, or does not fit the model.
            EvaluationError: the float model's score is no finite number, or the metric notices nothing.
            MissedError: no recipe was accepted and ``on_miss`` is ``raise``.
            RunError: ``run.folder`` cannot be written.
            ModelError: the model cannot be tuned, or ilit's float32 copy of it is another function.
            IlitError: the other classes of ``ilit.errors``, each in one line with its cure.
        """
        if on_miss not in ("none", "closest", "raise"):
            raise ConfigError(f"tune: on_miss is {on_miss!r}; give 'none', 'closest' or 'raise'")
        self.result = None
        plugins = self._plugins or installed_plugins()
        config, clock = self.config, self._clock
        begun = clock.seconds()
        with run_log() as log:
            try_folder(config.run_folder)
            scoring = choose_scoring(config, eval_dataloader, eval_func, plugins)
            parts = select_parts(config, model, plugins)
            data = gather(model, q_dataloader, eval_dataloader, plugins)
            with _threads(parts.adapter, config.threads):
                space = _describe(config, parts.adapter, model, data, plugins)
                with _folder(config, clock, log) as folder:
                    calibration = _calibrate(parts.adapter, model, data, space, folder)
                    models = models_of(parts.adapter, model, space, calibration, data.example)
                    run_clock = RunClock(clock.seconds, _deadline(config, begun))
                    context = evaluate_baseline(config, scoring, models, parts.objective, data, run_clock, folder)
                    header = header_of(context, config, parts.strategy.name, clock.now())
                    with open_ledger(folder, header, plugins, parts.objective) as ledger:
                        ledger.start()
                        end = _search(config, parts, context, ledger)
                        self.result = _result(end, context, ledger, clock.seconds() - begun)
                        saved = _save_and_finish(self.result, end, context, ledger)
        _warn_of_ignored_model(context, self.result)
        for doubt in saved.doubts:
            warn(doubt)
        if end.error is not None:
            raise end.error
        return saved.chosen if self.result.met else _missed(self.result, saved.chosen, on_miss)


def _deadline(config: Config, begun: float) -> float:
    """Return the time on the run's clock when it is up: calibration and baseline count."""
    return begun + config.timeout if config.timeout > 0 else math.inf


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


def _describe(config: Config, adapter: Adapter, model: Any, data: Data, plugins: Registry) -> SearchSpace:
    """Return the space that model, CPU, plugins' rules and the configuration allow."""
    if isinstance(adapter, DescribesAll):
        offered = adapter.describe_all(model, data.calibration, config.calibrations)
    else:
        offered = adapter.describe(model, data.example)
    space = narrow(apply_rules(offered, model, config, plugins), config)
    cpu, ways = adapter.cpu(), max(len(op.candidates) for op in space.ops.values())
    _log.info("%s, %s, class %s, %d threads", cpu.model, cpu.isa, cpu.int8_class, cpu.threads)
    _log.info("%d ops; each may run in up to %d ways", len(space.ops), ways)
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


def _search(config: Config, parts: Parts, context: RunContext, ledger: Ledger) -> SearchEnd:
    budget = Budget(config.max_trials, config.timeout, config.stop == "met")
    rng = random.Random(config.random_seed)  # noqa: S311 - a search, not a secret
    return search(context, parts.strategy, rng, parts.executor, budget, ledger)


def _result(end: SearchEnd, context: RunContext, ledger: Ledger, seconds: float) -> TuneResult:
    header, criterion = ledger.header, context.assessment.criterion
    best = best_of(end.trials, context.assessment.objective, criterion)
    closest = best or closest_of(end.trials, criterion, header.baseline)
    evidence = closest.evidence if closest else None
    if evidence is not None:
        _log.info("%s", sentence(evidence))
    return TuneResult(
        met=best is not None,
        reason=end.reason,
        metric=header.metric,
        baseline=header.baseline,
        target=header.target,
        best=best,
        closest=closest,
        trials=end.trials,
        front=front_of(end.trials, criterion),
        probes=end.probes,
        evaluations=1 + sum(record.accuracy is not None for record in end.trials),
        seconds=seconds,
        cpu=header.cpu,
        folder=ledger.folder,
        interrupted=end.interrupted,
        evidence=evidence,
        left_in_float=dict(header.left_in_float),
        criterion=header.criterion,
        higher_is_better=header.higher_is_better,
    )


def _save_and_finish(result: TuneResult, end: SearchEnd, context: RunContext, ledger: Ledger) -> SavedModels:
    """Save the best or the closest model, read it back, then tell journal and plugins that the run is over."""
    try:
        saved = save_models(result, context.models, ledger.header, ledger.run.probes)
    except BaseException as error:
        _finish(ledger, result, f"{end.reason}; the model could not be saved: {one_line(error)}")
        if end.error is not None:
            raise end.error from error
        raise
    doubt = _finish(ledger, result, "; ".join([end.reason, *saved.doubts]))
    return replace(saved, doubts=(*saved.doubts, doubt)) if doubt else saved


def _finish(ledger: Ledger, result: TuneResult, reason: str) -> str:
    """Tell that the run is over; return a line where the run folder does not take it, else an empty string."""
    try:
        ledger.finish(result, reason)
    except Exception as error:  # noqa: BLE001 - the model is there, and must not be lost to a full disk
        _log.info("the run's end could not be written", exc_info=True)
        return f"{ledger.folder}: the end of the run could not be written ({one_line(error)})"
    return ""


def _warn_of_ignored_model(context: RunContext, result: TuneResult) -> None:
    """Warn where an ``eval_func`` gives the same score whatever model it is given."""
    try:
        trial = trial_of_ignored_model(context, result.trials)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the model must not be lost to a check
        _log.info("whether eval_func notices its model is not known: %s", one_line(error), exc_info=True)
        return
    if trial is not None:
        warn(
            f"eval_func: gives {result.baseline!r} for the float32 model, for an INT8 model whose outputs differ "
            f"(trial {trial}), and for a model of zeros; check that it evaluates the model it is given"
        )


def _missed(result: TuneResult, closest: Any, on_miss: OnMiss) -> Any:
    """Say once that no recipe was accepted, how near the closest came, and how to get it."""
    message = miss_message(result)
    if on_miss == "raise":
        raise MissedError(message)
    warn(message)
    return closest if on_miss == "closest" else None
