"""The rows held out from the search: how they are chosen, and the verdict on them once the search is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ilit.adapter import Adapter, RegroupsRows
from ilit.config import Config
from ilit.errors import ConfigError, one_line
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.order import EvaluationOrders, order_over, reordered
from ilit.evaluation.rows import CachedRows, split
from ilit.metric import Metric, PairedMetric
from ilit.result import TrialRecord
from ilit.search.context import Reference, RunContext
from ilit.search.trial import compare

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Some of the evaluation rows: how evaluations go over them, and the float model's answers there."""

    orders: EvaluationOrders
    reference: Reference


def check_holdout(adapter: Adapter, metric: Metric, name: str) -> None:
    """Refuse a holdout that no rows can be told apart for, before the float model is evaluated for it.

    Raises:
        ConfigError: metric or adapter knows no rows.
    """
    if not isinstance(metric, PairedMetric):
        raise no_holdout(f"metric {name} gives one number for all rows, not a prediction for each")
    if not metric.by_row:
        raise no_holdout(f"metric {name} scores something else than rows")
    if not isinstance(adapter, RegroupsRows):
        raise no_holdout(f"adapter {adapter.name} cannot tell rows apart")


def no_holdout(why: str) -> ConfigError:
    """Return the error that refuses a holdout."""
    return ConfigError(f"evaluation.holdout: {why}, so no rows can be held out; remove the key")


def hold_out(config: Config, adapter: Adapter, cached: CachedRows, reference: Reference) -> tuple[Split, Split]:
    """Split the rows into those searched on and those held out; the float model's predictions are there already.

    Raises:
        ConfigError: one of the two would be empty, or rows cannot be put into other batches.
    """
    rows = len(reference.labels)
    searched, held_out = split(rows, config.holdout, config.random_seed)
    if not searched or not held_out:
        raise ConfigError(
            f"evaluation.holdout: {config.holdout:g} of {rows} rows holds out {len(held_out)} and leaves "
            f"{len(searched)} to the search; choose another share, or evaluate on more rows"
        )
    if cached.batch_dependence:
        raise no_holdout(cached.batch_dependence)
    plain = order_over(adapter, cached, cached.own_batches(searched))
    theirs = reordered(adapter, cached, held_out)
    if not plain or not theirs:
        raise no_holdout("the evaluation rows cannot be told apart, or take too much memory; log.txt says which")
    orders = EvaluationOrders(plain, reordered(adapter, cached, reference.misses_first(searched)))
    _log.info("%d of %d rows are held out from the search", len(held_out), rows)
    return Split(orders, reference.on(searched)), Split(EvaluationOrders(theirs), reference.on(held_out))


def judged_on_holdout(context: RunContext, record: TrialRecord) -> TrialRecord:
    """Return the record with evidence from the rows held out: one recipe, one comparison, no correction.

    The record as it is where no rows are held out, or where evaluating on them fails: the search's own evidence stands.
    """
    holdout = context.assessment.holdout
    if holdout is None:
        return record
    try:
        score = holdout.scorer.score(context.models.lower(record.recipe), record.recipe, Stop())
    except Exception as error:  # noqa: BLE001 - the search's own verdict is there, log.txt has the traceback
        _log.warning("trial %d has no verdict on the holdout: %s", record.number, one_line(error), exc_info=True)
        return record
    if score.predictions is None:
        return record
    evidence = compare(context.assessment, holdout.reference, score.predictions, 1, holdout=True)
    return record if evidence is None else replace(record, evidence=evidence)
