"""Load a checkpoint's fast tokenizer, and choose the length of its inputs."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from ilit.errors import ConfigError, IlitWarning, ModelError

_log = logging.getLogger("ilit.bert")


def load_tokenizer(source: str | Path) -> Any:
    """Load the fast tokenizer of a checkpoint folder or Hugging Face Hub id.

    It lowercases its text as the checkpoint's own files say or, where they do not, its vocabulary; see
    ``ilit_bert.checkpoints.casing``. What was inferred is logged, and an ``IlitWarning`` names files that the
    vocabulary contradicts.

    Raises:
        ModelError: there is no tokenizer, or none of transformers' fast ones.
    """
    from ilit_bert.checkpoints.casing import casing_of

    tokenizer = _loaded(source)
    casing = casing_of(tokenizer, str(source))
    if casing is None:
        return tokenizer
    if casing.inferred:
        _log.log(logging.INFO if casing.lowers else logging.WARNING, "%s: %s", source, casing.inferred)
    if casing.doubt:
        warnings.warn(f"{source}: {casing.doubt}", IlitWarning, stacklevel=2)
    present = tokenizer.backend_tokenizer.normalizer
    if (present.lowercase, present.strip_accents) == (casing.lowers, casing.strips):
        return tokenizer
    return _loaded(source, do_lower_case=casing.lowers, strip_accents=casing.strips)


def _loaded(source: str | Path, **options: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:  # what damaged, missing and unknown files raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{source}: has no tokenizer that loads ({reason}); name a checkpoint folder that holds tokenizer.json, "
            "or a Hub id"
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(f"{source}: has only a slow tokenizer; save its fast one (tokenizer.json) into the folder")
    return tokenizer


def fitting_length(model: Any, tokenizer: Any, wanted: int | None, usual: int) -> int:
    """Return the maximum input length in tokens: ``wanted``, or for None ``usual`` within the model's limit.

    Raises:
        ConfigError: ``wanted`` is more than the model has positions for, or too short for any text.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    limit = min(int(positions), int(tokenizer.model_max_length))
    if wanted is None:
        return min(usual, limit)
    if not 8 <= wanted <= limit:
        raise ConfigError(f"max length {wanted}: the model takes 8 to {limit} tokens; choose a number among these")
    return wanted
