"""The float32 model's evaluation: its score, its answers row by row, and all that recipes are assessed by."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from ilit.adapter import Adapter, Calibration, RegroupsRows
from ilit.config import Config
from ilit.criterion import Criterion
from ilit.errors import warn
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.fidelity import check_float_model
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders, reordered
from ilit.evaluation.row_dependence import Recorder, dependence
from ilit.evaluation.rows import COST_BATCHES, UncachedLoader, WatchedLoader, shapes_of
from ilit.evaluation.sanity import check_metric_moves
from ilit.evaluation.scoring import FunctionScorer, MetricScorer, Scorer, finite
from ilit.metric import Metric, PairedMetric
from ilit.objective import Objective
from ilit.plugins.loaders import Data
from ilit.plugins.selection import ByFunction, ByMetric, Scoring
from ilit.report.verdict import resolution_warning
from ilit.run.predictions import write_predictions
from ilit.search.context import Assessment, Holdout, Models, Reference, RunClock, RunContext
from ilit.search.holdout import check_holdout, hold_out, no_holdout
from ilit.space import SearchSpace
from ilit.strategy import Baseline

MakeScorer = Callable[[EvaluationOrders], MetricScorer]
_log = logging.getLogger(__name__)


def models_of(adapter: Adapter, model: Any, space: SearchSpace, calibration: Calibration, example: Any) -> Models:
    """Return the float model in the form that recipes are compared with.

    It is the adapter's own lowering of the all-float recipe: bit-equal to the user's and free to be put into another
    mode by an ``eval_func``, while the user's stays as it is.

    Args:
        adapter: the framework.
        model: the user's.
        space: the recipes that may be asked for.
        calibration: statistics for all of them.
        example: a calibration batch, that the two are compared on.

    Raises:
        ModelError: see ``check_float_model``.
    """
    float_model = adapter.lower(model, space.float_recipe(), calibration)
    sample = check_float_model(adapter, model, float_model, example)
    return Models(adapter, model, float_model, calibration, space, sample)


def evaluate_baseline(
    config: Config,
    scoring: Scoring,
    models: Models,
    objective: Objective,
    data: Data,
    clock: RunClock,
    folder: Path,
) -> RunContext:
    """Evaluate the float model, and return all that trials are answered with.

    Its predictions on the rows searched on, and the labels, are saved in the run folder.

    Args:
        config: criterion, confidence and holdout.
        scoring: the metric or function.
        models: the float model.
        objective: which of the recipes that pass is better.
        data: the loaders.
        clock: the run's time.
        folder: the run folder.

    Raises:
        EvaluationError: the score is no finite number, or the metric does not notice a zeroed model.
        ConfigError: a relative criterion on a baseline of 0, or a holdout that is not possible.
        RunError: the disk does not take the predictions.
    """
    begun = clock.seconds()
    match scoring:
        case ByMetric():
            found = _by_metric(config, scoring, models, data)
        case ByFunction():
            found = _by_function(scoring, models, data)
    clock = replace(clock, baseline_seconds=clock.seconds() - begun)
    criterion = replace(config.criterion, higher_is_better=scoring.higher_is_better)
    assessment = _assessment(config, criterion, objective, found)
    _log.info("%s of the float32 model: %r; asked is %s", scoring.name, found.score, criterion.sentence(found.score))
    if found.reference is not None:
        _warn_of_resolution(criterion, found.reference)
        _save(folder, found.reference)
    if found.batch_dependent:
        models = replace(models, sample=replace(models.sample, batch=models.sample.whole))
    return RunContext(models, assessment, clock, folder)


@dataclass(frozen=True)
class FloatEvaluation:
    """The result of the float model's evaluation.

    Attributes:
        scorer: scores recipes, on the rows that the search may see.
        score: the float model's on these.
        cost_batches: batches to measure costs on.
        reference: its answers, where the metric compares unit by unit.
        holdout: the rows held out from the search.
        batch_dependent: rows cannot be put into other batches than those they came in, since outputs depend on those.
    """

    scorer: Scorer
    score: float
    cost_batches: Sequence[Any]
    reference: Reference | None = None
    holdout: Holdout | None = None
    batch_dependent: bool = False


def _assessment(config: Config, criterion: Criterion, objective: Objective, found: FloatEvaluation) -> Assessment:
    target = criterion.target(found.score)
    return Assessment(
        scorer=found.scorer,
        criterion=criterion,
        baseline=Baseline(found.score, target, criterion.higher_is_better, config.stop, objective.name),
        objective=objective,
        batches=tuple(found.cost_batches),
        confidence=config.confidence,
        reference=found.reference,
        holdout=found.holdout,
    )


# --- By a function ---------------------------------------------------------------------------------------------------


def _by_function(scoring: ByFunction, models: Models, data: Data) -> FloatEvaluation:
    """Call the function on a model of its own, since it may do to it whatever it likes."""
    scorer = FunctionScorer(scoring.function)
    score = scorer.score(models.lower(models.space.float_recipe()), None, Stop()).accuracy
    return FloatEvaluation(scorer, score, list(itertools.islice(data.calibration, COST_BATCHES)))


# --- By a metric over data -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _FirstPass:
    """The float model's one pass over the evaluation loader.

    Attributes:
        score: the metric's result.
        recorded: the metric, with the outputs of some rows.
        loader: has the rows seen, their digests, and batches to measure costs on.
    """

    score: float
    recorded: Recorder
    loader: WatchedLoader


def _by_metric(config: Config, scoring: ByMetric, models: Models, data: Data) -> FloatEvaluation:
    """Evaluate over the loader once, and find out how trials may go over its rows."""
    seen = _first_pass(config, scoring, models, data)
    cached, paired = seen.loader.cached, _paired(config, scoring.name, seen)
    if paired is not None and paired.by_row:
        _try_regrouping(scoring, models, seen)
    batches = data.evaluation if cached.batches is None else cached.batches
    predictions = paired.predictions() if paired is not None and cached.shapes is not None else None
    scorer = partial(MetricScorer, scoring.name, models.adapter, make=scoring.make)
    plain = scorer(EvaluationOrders(EvaluationOrder(batches)))
    check_metric_moves(plain, models.float_model, seen.score, predictions)
    _warn_of_overlap(models.calibration, itertools.chain.from_iterable(seen.loader.digests))
    if paired is not None:
        reference = Reference(paired, paired.predictions(), paired.labels(), seen.score)
        return _with_reference(config, scorer, models, data, seen, reference)
    if config.holdout:
        raise no_holdout(f"metric {scoring.name} cannot be compared row by row; log.txt says why")
    return FloatEvaluation(plain, seen.score, seen.loader.cost_batches)


def _first_pass(config: Config, scoring: ByMetric, models: Models, data: Data) -> _FirstPass:
    adapter, metric = models.adapter, scoring.make()
    rng = random.Random(config.random_seed)  # noqa: S311 - a sample of batches, not a secret
    watched = WatchedLoader(data.evaluation, adapter.row_digests, rng)
    if config.holdout:
        check_holdout(adapter, metric, scoring.name)
    recorded = Recorder(metric)
    score = adapter.evaluate(models.float_model, watched, cast("Metric", recorded), watched.count_rows)
    return _FirstPass(finite(score, f"metric {scoring.name}"), recorded, watched)


def _paired(config: Config, name: str, seen: _FirstPass) -> PairedMetric | None:
    """Return the metric where it can be compared unit by unit; else None, with the reason in the log."""
    metric, rows = seen.recorded.metric, sum(seen.loader.cached.counts)
    if not isinstance(metric, PairedMetric):
        why = "it gives one number for all rows, not a prediction for each"
    elif config.higher_is_better not in (None, metric.higher_is_better):
        why = "its direction is not the one that tuning.accuracy_criterion.higher_is_better says"
    elif metric.by_row and not len(metric.predictions()) == len(metric.labels()) == rows:
        why = f"it gives {len(metric.predictions())} predictions for {rows} rows"
    else:
        return metric
    _log.info("metric %s: evaluations run to their end and are not compared row by row, since %s", name, why)
    return None


def _try_regrouping(scoring: ByMetric, models: Models, seen: _FirstPass) -> None:
    """Find out whether rows may be put into other batches than those they came in."""
    adapter, cached = models.adapter, seen.loader.cached
    cached.shapes = shapes_of(adapter, cached)
    if cached.shapes is None or not isinstance(adapter, RegroupsRows):
        return
    if models.sample.repeats:
        why = dependence(adapter, models.float_model, cached, seen.recorded, scoring.make)
    else:
        why = "its outputs differ from call to call"
    if why:
        cached.note_batch_dependence(why)


def _with_reference(
    config: Config, scorer: MakeScorer, models: Models, data: Data, seen: _FirstPass, reference: Reference
) -> FloatEvaluation:
    """Return the evaluation where recipes are compared unit by unit: on all rows, or with some held out."""
    adapter, cached = models.adapter, seen.loader.cached
    if config.holdout:
        ours, theirs = hold_out(config, adapter, cached, reference)
        holdout = Holdout(scorer(theirs.orders), theirs.reference)
        return FloatEvaluation(
            scorer(ours.orders), ours.reference.score, seen.loader.cost_batches, ours.reference, holdout
        )
    batches: Iterable[Any] | None = cached.batches
    if batches is None:
        batches = UncachedLoader(data.evaluation, adapter.row_digests, seen.loader.digests)
    ordered = reordered(adapter, cached, reference.misses_first())
    orders = EvaluationOrders(EvaluationOrder(batches, cached.labels()), ordered)
    return FloatEvaluation(
        scorer(orders), seen.score, seen.loader.cost_batches, reference, batch_dependent=bool(cached.batch_dependence)
    )


# --- The reference ---------------------------------------------------------------------------------------------------


def _save(folder: Path, reference: Reference) -> None:
    """Save the float model's predictions on the rows searched on, and the labels."""
    write_predictions(folder, 0, reference.predictions)
    write_predictions(folder, "labels", reference.labels)
    if reference.units is not None:
        write_predictions(folder, "units", reference.units)


def _warn_of_resolution(criterion: Criterion, reference: Reference) -> None:
    """Warn where the criterion asks for more than so few rows can show."""
    if not reference.are_classes:
        return
    labels = reference.labels
    all_right = float(reference.metric.scores(labels, labels, np.ones((1, len(labels))))[0])
    # An error, of which less is better, has no share of right rows that a tolerance could be counted in.
    message = resolution_warning(criterion, reference.score, len(labels), all_right) if all_right > 0 else ""
    if message:
        warn(message)


def _warn_of_overlap(calibration: Calibration, evaluated: Iterable[str]) -> None:
    """Warn of calibration rows that are also evaluated on: the score is then not one of unseen data."""
    shared = len(calibration.row_digests.intersection(evaluated))
    if shared:
        warn(
            f"q_dataloader: {shared} of {len(calibration.row_digests)} calibration rows are also evaluation rows, so "
            "the scores flatter the model; calibrate on training data"
        )
