"""The float32 model's score, and whether the data and the metric can judge anything at all."""

from __future__ import annotations

import itertools
import logging
import random
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ilit.adapter import Adapter, Calibration
from ilit.config import Config
from ilit.errors import ConfigError, IlitWarning
from ilit.evaluation import Judge, check_metric_moves, judge_by_function, judge_by_metric
from ilit.loaders import KEPT_BATCHES, Data, WatchedLoader
from ilit.metric import Metric
from ilit.parts import make_metric
from ilit.plugins import Registry
from ilit.selection import Parts
from ilit.space import SearchSpace
from ilit.strategy import Baseline
from ilit.trial import Workbench

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Yardstick:
    """What scores a run: a metric, or the user's function.

    Attributes:
        name: the metric's name, or ``eval_func``.
        higher_is_better: the metric's direction; True for a function, unless the configuration says otherwise.
        source: makes a fresh metric; or, for a function, the judge that calls it.
    """

    name: str
    higher_is_better: bool
    source: Callable[[], Metric] | Judge


def choose_yardstick(config: Config, eval_dataloader: Any, eval_func: Any, plugins: Registry) -> Yardstick:
    """Return what scores the run. Warns where a configured metric is not used.

    Raises:
        ConfigError: both or neither of ``eval_dataloader`` and ``eval_func`` given, data without a metric, or
            no such metric.
    """
    if (eval_dataloader is None) == (eval_func is None):
        given = "both" if eval_func is not None else "neither"
        raise ConfigError(
            f"tune: {given} of eval_dataloader and eval_func given; give eval_dataloader and a tuning.metric, or "
            "eval_func alone"
        )
    if eval_func is None:
        return _by_metric(config, plugins)
    if not callable(eval_func):
        raise ConfigError(f"tune: eval_func is a {type(eval_func).__name__}; give a function of the model")
    if config.metric is not None:
        where = config.metric.where or "tuning.metric"
        message = f"{where}: metric '{config.metric.name}' is not used, since an eval_func was given"
        warnings.warn(message, IlitWarning, stacklevel=3)
    judge = judge_by_function(eval_func)
    return Yardstick(judge.name, config.higher_is_better is not False, judge)


def _by_metric(config: Config, plugins: Registry) -> Yardstick:
    if config.metric is None:
        installed = ", ".join(plugins.names("metric")) or "none; pip install ilit-pytorch"
        raise ConfigError(
            f"tuning.metric: none is named, and there is no default; name one (installed: {installed}), or give "
            "tune an eval_func"
        )
    make = partial(make_metric, config.metric, plugins)
    metric = make()
    direction = metric.higher_is_better if config.higher_is_better is None else config.higher_is_better
    return Yardstick(getattr(metric, "title", metric.name), direction, make)


def assess(
    config: Config,
    parts: Parts,
    yardstick: Yardstick,
    model: Any,
    data: Data,
    space: SearchSpace,
    calibration: Calibration,
    seconds: Callable[[], float],
) -> Workbench:
    """Evaluate the float model and return what every trial is judged with.

    The float model is the adapter's own lowering of the all-float recipe: bit-equal to the user's and free to be put
    into another mode by an ``eval_func``, while the user's stays as it is.

    Raises:
        EvaluationError: the score is no finite number, or the metric does not notice a zeroed model.
        ConfigError: a relative criterion on a baseline of 0.
    """
    float_model = parts.adapter.lower(model, space.float_recipe(), calibration)
    criterion = replace(config.criterion, higher_is_better=yardstick.higher_is_better)
    if isinstance(yardstick.source, Judge):
        judge, score = yardstick.source, yardstick.source.score(float_model)
        batches = list(itertools.islice(data.calibration, KEPT_BATCHES))
    else:
        judge = judge_by_metric(parts.adapter, data.evaluation, yardstick.source, yardstick.name)
        score, batches = _on_data(
            parts.adapter, yardstick.name, yardstick.source, data, float_model, calibration, config.random_seed
        )
    target = criterion.target(score)
    _log.info("%s of the float32 model: %r; asked is %s", yardstick.name, score, criterion.sentence(score))
    return Workbench(
        adapter=parts.adapter,
        model=model,
        float_model=float_model,
        calibration=calibration,
        space=space,
        judge=judge,
        criterion=criterion,
        baseline=Baseline(score, target, criterion.higher_is_better, config.stop, parts.objective.name),
        objective=parts.objective,
        batches=batches,
        seconds=seconds,
    )


def _on_data(
    adapter: Adapter,
    name: str,
    make: Callable[[], Metric],
    data: Data,
    float_model: Any,
    calibration: Calibration,
    seed: int,
) -> tuple[float, list[Any]]:
    """Return the score and a few batches to measure on, from one pass that also looks for calibration's rows."""
    rng = random.Random(seed)  # noqa: S311 - a sample of batches, not a secret
    watched = WatchedLoader(data.evaluation, adapter.row_digests, rng)
    score = judge_by_metric(adapter, watched, make, name).score(float_model)
    check_metric_moves(adapter, float_model, data.evaluation, make, name, score)
    _check_overlap(calibration, watched.digests)
    return score, watched.kept


def _check_overlap(calibration: Calibration, evaluated: Iterable[str]) -> None:
    """Warn of calibration rows that are also evaluated on: the score is then not one of unseen data."""
    shared = len(calibration.row_digests.intersection(evaluated))
    if shared:
        message = (
            f"q_dataloader: {shared} of {len(calibration.row_digests)} calibration rows are also evaluation rows, so "
            "the scores flatter the model; calibrate on training data"
        )
        warnings.warn(message, IlitWarning, stacklevel=5)
