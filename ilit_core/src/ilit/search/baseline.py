"""The float32 model's score, and whether the data and the metric can judge anything at all."""

from __future__ import annotations

import itertools
import logging
import math
import random
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from ilit.adapter import Adapter, Calibration, RegroupsRows
from ilit.config import Config
from ilit.criterion import Criterion
from ilit.errors import ConfigError, IlitWarning
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.fidelity import check_float_model
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders, batched, misses_first, order_over
from ilit.evaluation.row_dependence import Recorder, dependence
from ilit.evaluation.rows import COST_BATCHES, CachedRows, UncachedLoader, WatchedLoader, shapes_of, split
from ilit.evaluation.sanity import check_metric_moves
from ilit.evaluation.scoring import FunctionScorer, MetricScorer, Scorer, finite
from ilit.metric import Metric, PairedMetric
from ilit.plugins.components import make_metric
from ilit.plugins.loaders import Data
from ilit.plugins.registry import Registry
from ilit.plugins.selection import Components
from ilit.report.verdict import resolution_warning
from ilit.search.context import Holdout, Reference, RunContext
from ilit.space import SearchSpace
from ilit.strategy import Baseline

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ByMetric:
    """A metric over evaluation data scores the run.

    Attributes:
        name: the metric's.
        higher_is_better: its direction, unless the configuration says otherwise.
        make: makes a fresh metric.
    """

    name: str
    higher_is_better: bool
    make: Callable[[], Metric]

    def scorer(self, adapter: Adapter, courses: EvaluationOrders) -> MetricScorer:
        """Return what scores models on this data."""
        return MetricScorer(self.name, adapter, courses, self.make)


@dataclass(frozen=True)
class ByFunction:
    """The user's ``eval_func`` scores the run.

    Attributes:
        higher_is_better: True, unless the configuration says otherwise.
        scorer: calls the function.
    """

    higher_is_better: bool
    scorer: FunctionScorer

    @property
    def name(self) -> str:
        """The scorer's name."""
        return self.scorer.name


Scoring = ByMetric | ByFunction


def choose_scoring(config: Config, eval_dataloader: Any, eval_func: Any, plugins: Registry) -> Scoring:
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
    if config.holdout:
        raise _no_holdout("an eval_func shows no rows")
    if not callable(eval_func):
        raise ConfigError(f"tune: eval_func is a {type(eval_func).__name__}; give a function of the model")
    if config.metric is not None:
        where = config.metric.where or "tuning.metric"
        message = f"{where}: metric '{config.metric.name}' is not used, since an eval_func was given"
        warnings.warn(message, IlitWarning, stacklevel=3)
    return ByFunction(config.higher_is_better is not False, FunctionScorer(eval_func))


def _by_metric(config: Config, plugins: Registry) -> ByMetric:
    if config.metric is None:
        installed = ", ".join(plugins.names("metric")) or "none; pip install ilit-pytorch"
        raise ConfigError(
            f"tuning.metric: none is named, and there is no default; name one (installed: {installed}), or give "
            "tune an eval_func"
        )
    make = partial(make_metric, config.metric, plugins)
    metric = make()
    direction = metric.higher_is_better if config.higher_is_better is None else config.higher_is_better
    return ByMetric(getattr(metric, "title", metric.name), direction, make)


def assess(
    config: Config,
    parts: Components,
    scoring: Scoring,
    model: Any,
    data: Data,
    space: SearchSpace,
    calibration: Calibration,
    run: RunClock,
) -> RunContext:
    """Evaluate the float model and return what every trial is answered with.

    The float model is the adapter's own lowering of the all-float recipe: bit-equal to the user's and free to be put
    into another mode by an ``eval_func``, while the user's stays as it is.

    Raises:
        EvaluationError: the score is no finite number, or the metric does not notice a zeroed model.
        ConfigError: a relative criterion on a baseline of 0, or a holdout that cannot be kept.
        ModelError: see ``check_float_model``.
    """
    float_model = parts.adapter.lower(model, space.float_recipe(), calibration)
    sample = check_float_model(parts.adapter, model, float_model, data.example)
    begun = run.seconds()
    if isinstance(scoring, ByFunction):
        # A model of its own, since it may do to it whatever it likes.
        given = parts.adapter.lower(model, space.float_recipe(), calibration)
        score = scoring.scorer.score(given, None, Stop()).accuracy
        found = FloatEvaluation(scoring.scorer, score, list(itertools.islice(data.calibration, COST_BATCHES)))
    else:
        found = _on_data(config, parts.adapter, scoring, data, float_model, calibration, sample.repeats)
    seconds = run.seconds() - begun
    criterion = replace(config.criterion, higher_is_better=scoring.higher_is_better)
    target = criterion.target(found.score)
    _log.info("%s of the float32 model: %r; asked is %s", scoring.name, found.score, criterion.sentence(found.score))
    _warn_of_resolution(criterion, found)
    return RunContext(
        adapter=parts.adapter,
        model=model,
        float_model=float_model,
        calibration=calibration,
        space=space,
        scorer=found.scorer,
        criterion=criterion,
        baseline=Baseline(found.score, target, criterion.higher_is_better, config.stop, parts.objective.name),
        objective=parts.objective,
        batches=found.few,
        sample=replace(sample, batch=sample.whole) if found.bound else sample,
        seconds=run.seconds,
        deadline=run.deadline,
        baseline_seconds=seconds,
        confidence=config.confidence,
        reference=found.reference,
        held=found.held,
        folder=run.folder,
    )


@dataclass(frozen=True)
class RunClock:
    """What a run brings: where it writes, its clock, and when its time is up."""

    folder: Path
    seconds: Callable[[], float]
    deadline: float = math.inf


@dataclass(frozen=True)
class FloatEvaluation:
    """What the float model's evaluation gave.

    Attributes:
        scorer: scores recipes, on the rows that the search may see.
        score: the float model's on these.
        few: batches to measure costs on.
        reference: its answers, where the metric compares unit by unit.
        held: the rows kept from the search.
        bound: rows cannot be put into other batches than those they came in.
    """

    scorer: Scorer
    score: float
    few: list[Any]
    reference: Reference | None = None
    held: Holdout | None = None
    bound: bool = False


def _on_data(
    config: Config,
    adapter: Adapter,
    scoring: ByMetric,
    data: Data,
    float_model: Any,
    calibration: Calibration,
    repeats: bool,
) -> FloatEvaluation:
    """Run the one pass over the loader: the score, the rows, a few batches; it also looks for calibration's rows."""
    rng = random.Random(config.random_seed)  # noqa: S311 - a sample of batches, not a secret
    name, make = scoring.name, scoring.make
    watched, metric = WatchedLoader(data.evaluation, adapter.row_digests, rng), make()
    if config.holdout:
        _check_holdout(adapter, metric, name)
    recorded = Recorder(metric)
    score = adapter.evaluate(float_model, watched, cast("Metric", recorded), watched.count_rows)
    score = finite(score, f"metric {name}")
    kept, paired = watched.cached, _paired(metric, config, watched.cached, name)
    if paired is not None and paired.by_row:
        _look_at_rows(adapter, float_model, kept, recorded, make, repeats)
    batches = data.evaluation if kept.batches is None else kept.batches
    known = paired.predictions() if paired is not None and kept.shapes is not None else None
    plain = scoring.scorer(adapter, EvaluationOrders(EvaluationOrder(batches)))
    check_metric_moves(plain, float_model, score, known)
    _check_overlap(calibration, itertools.chain.from_iterable(watched.digests))
    if paired is None and config.holdout:
        raise _no_holdout(f"metric {name} cannot be compared row by row; log.txt says why")
    if paired is None:
        return FloatEvaluation(plain, score, watched.cost_batches)
    reference = Reference(paired, paired.predictions(), paired.labels(), score)
    if config.holdout:
        return _without_holdout(config, adapter, scoring, reference, kept, watched.cost_batches)
    if kept.batches is None:
        batches = UncachedLoader(data.evaluation, adapter.row_digests, watched.digests)
    courses = EvaluationOrders(EvaluationOrder(batches, kept.labels()), _misses_first(adapter, kept, reference))
    return FloatEvaluation(
        scoring.scorer(adapter, courses), score, watched.cost_batches, reference, bound=bool(kept.bound)
    )


def _look_at_rows(
    adapter: Adapter, float_model: Any, kept: CachedRows, recorded: Recorder, make: Callable[[], Metric], repeats: bool
) -> None:
    """Find out whether rows may be put into other batches than those they came in."""
    kept.shapes = shapes_of(adapter, kept)
    if kept.shapes is None or not isinstance(adapter, RegroupsRows):
        return
    why = dependence(adapter, float_model, kept, recorded, make) if repeats else "its outputs differ from call to call"
    if why:
        kept.bind(why)


def _paired(metric: Metric, config: Config, kept: CachedRows, name: str) -> PairedMetric | None:
    """Return the metric where it can be compared unit by unit; else None, and say why in the log."""
    if not isinstance(metric, PairedMetric):
        why = "it gives one number for all rows, not a prediction for each"
    elif config.higher_is_better not in (None, metric.higher_is_better):
        why = "its direction is not the one that tuning.accuracy_criterion.higher_is_better says"
    elif metric.by_row and not len(metric.predictions()) == len(metric.labels()) == sum(kept.counts):
        why = f"it gives {len(metric.predictions())} predictions for {sum(kept.counts)} rows"
    else:
        return metric
    _log.info("metric %s: evaluations run to their end and are not compared row by row, since %s", name, why)
    return None


def _without_holdout(
    config: Config,
    adapter: Adapter,
    scoring: ByMetric,
    reference: Reference,
    kept: CachedRows,
    few: list[Any],
) -> FloatEvaluation:
    """Split the rows, and score the float model on each part from the predictions that are there already."""
    searched, held = split(len(reference.labels), config.holdout, config.random_seed)
    if not searched or not held:
        raise ConfigError(
            f"evaluation.holdout: {config.holdout:g} of {len(reference.labels)} rows holds out {len(held)} and leaves "
            f"{len(searched)} to the search; choose another share, or evaluate on more rows"
        )
    if kept.bound:
        raise _no_holdout(kept.bound)
    plain = order_over(adapter, kept, kept.own_batches(searched))
    theirs = kept.shapes and order_over(adapter, kept, list(batched(held, kept.shapes, max(kept.counts))))
    if not plain or not theirs:
        raise _no_holdout("the evaluation rows cannot be told apart, or take too much memory; log.txt says which")
    courses = EvaluationOrders(plain, _misses_first(adapter, kept, reference, searched))
    ours, others = reference.on(searched), reference.on(held)
    kept_out = Holdout(scoring.scorer(adapter, EvaluationOrders(theirs)), others)
    _log.info("%d of %d rows are kept from the search", len(held), len(reference.labels))
    return FloatEvaluation(scoring.scorer(adapter, courses), ours.score, few, ours, kept_out)


def _misses_first(
    adapter: Adapter, kept: CachedRows, reference: Reference, rows: Sequence[int] | None = None
) -> EvaluationOrder | None:
    """Return a course over these rows, by default all, in which misses show early; None where that cannot be."""
    metric, margins = reference.metric, reference.metric.margins()
    known = metric.by_row and len(margins) == len(reference.labels)
    shapes = kept.shapes if known else None
    if shapes is None or not np.issubdtype(reference.predictions.dtype, np.integer):
        return None
    chosen = np.arange(len(margins)) if rows is None else np.asarray(rows, np.int64)
    wrong = reference.predictions != reference.labels
    order = chosen[misses_first(wrong[chosen], margins[chosen])]
    return order_over(adapter, kept, list(batched(order.tolist(), shapes, max(kept.counts))))


def _check_holdout(adapter: Adapter, metric: Metric, name: str) -> None:
    """Refuse a holdout that cannot be kept, before the float model is evaluated for it."""
    if not isinstance(metric, PairedMetric):
        raise _no_holdout(f"metric {name} gives one number for all rows, not a prediction for each")
    if not metric.by_row:
        raise _no_holdout(f"metric {name} scores something else than rows")
    if not isinstance(adapter, RegroupsRows):
        raise _no_holdout(f"adapter {adapter.name} cannot tell rows apart")


def _no_holdout(why: str) -> ConfigError:
    return ConfigError(f"evaluation.holdout: {why}, so no rows can be kept from the search; remove the key")


def _warn_of_resolution(criterion: Criterion, found: FloatEvaluation) -> None:
    """Warn where the criterion asks for more than so few rows can show."""
    if found.reference is None:
        return
    metric, labels = found.reference.metric, found.reference.labels
    if not np.issubdtype(found.reference.predictions.dtype, np.integer):
        return
    all_right = float(metric.scores(labels, labels, np.ones((1, len(labels))))[0])
    # An error, of which less is better, has no share of right rows that a tolerance could be counted in.
    message = resolution_warning(criterion, found.score, len(labels), all_right) if all_right > 0 else ""
    if message:
        warnings.warn(message, IlitWarning, stacklevel=4)


def _check_overlap(calibration: Calibration, evaluated: Iterable[str]) -> None:
    """Warn of calibration rows that are also evaluated on: the score is then not one of unseen data."""
    shared = len(calibration.row_digests.intersection(evaluated))
    if shared:
        message = (
            f"q_dataloader: {shared} of {len(calibration.row_digests)} calibration rows are also evaluation rows, so "
            "the scores flatter the model; calibrate on training data"
        )
        warnings.warn(message, IlitWarning, stacklevel=5)
