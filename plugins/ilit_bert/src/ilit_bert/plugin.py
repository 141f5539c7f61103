"""The hooks of ilit-bert. Nothing heavy is imported before a hook needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ilit.hookspecs import hookimpl
from ilit.recipe import FLOAT32
from ilit.space import SearchSpace
from ilit_bert.data.keyword_batches import KeywordBatches, matches

if TYPE_CHECKING:
    import typer

FLOAT_EMBEDDINGS = ("position_embeddings", "token_type_embeddings")


@hookimpl
def ilit_metrics() -> list[Any]:
    """Offer GLUE's and SQuAD's metrics, by task and by formula."""
    from ilit_bert.metrics.table import METRICS

    return list(METRICS)


@hookimpl
def ilit_dataloaders() -> list[Any]:
    """Offer the wrapper of tuple batches."""
    return [KeywordBatches]


@hookimpl
def ilit_wrap_dataloader(loader: Any, model: Any) -> Any | None:
    """Wrap the loader of any of transformers' models."""
    return KeywordBatches(loader, model) if matches(loader, model) else None


@hookimpl
def ilit_space_rules(space: SearchSpace, model: Any) -> SearchSpace | None:
    """Leave position and token-type embeddings in float: a few hundred rows, so that INT8 saves next to nothing."""
    if getattr(getattr(model, "config", None), "model_type", None) is None:
        return None
    ops = {
        name: replace(op, candidates=(FLOAT32,)) if name.endswith(FLOAT_EMBEDDINGS) and FLOAT32 in op.candidates else op
        for name, op in space.ops.items()
    }
    return replace(space, ops=ops)


@hookimpl
def ilit_commands(app: typer.Typer) -> None:
    """Add ``ilit bert ...``."""
    from ilit_bert.cli import bert

    app.add_typer(bert, name="bert")


@hookimpl
def ilit_pytorch_build(config: Mapping[str, Any]) -> Any | None:
    """Build the transformers architecture that a saved ``config.json`` names, so that ``ilit.load`` needs no model."""
    if not {"model_type", "architectures"} <= set(config):
        return None
    from ilit_bert.checkpoints.loading import build

    return build(config)
