"""Tuple batches of tensors by the keyword names that a transformers model takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from ilit.errors import DataError


class KeywordBatches:
    """A loader of tuple batches, read as ``(keyword inputs, labels)``; iterable as often as the original is.

    Each batch of the original may be

    * ``(input_ids, attention_mask, labels)``,
    * ``(input_ids, attention_mask, token_type_ids, labels)``, as GLUE scripts build their ``TensorDataset``,
    * ``(input_ids, attention_mask, start_positions, end_positions)`` or the same five with ``token_type_ids`` third,
      for question answering: the labels are then ``(start_positions, end_positions)``,
    * a mapping with ``labels`` in it, as transformers' collators make: it goes through with its labels beside it,
    * a pair ``(input, label)``, as ilit takes it: goes through untouched.

    Token tensors are ``(rows, tokens)``. ``token_type_ids`` are dropped where the model has no token types. Nothing
    but ``iter()`` is ever called on the original, and that not before this is iterated itself.

    Args:
        loader: the original.
        model: a transformers model.
    """

    name: ClassVar[str] = "bert"

    def __init__(self, loader: Iterable[Any], model: Any) -> None:
        self._loader = loader
        self._token_types = takes_token_types(model)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield ``(input, labels)``.

        Raises:
            DataError: a batch is none of the above; names its number and what it is.
        """
        for number, batch in enumerate(self._loader, start=1):
            yield _pair(batch, number, self._token_types)


def matches(loader: Any, model: Any) -> bool:
    """Return whether ``KeywordBatches`` is for this model: any of transformers', told without importing it.

    An iterator that can be iterated only once is left as it is, so that the caller sees what it is.
    """
    config = getattr(model, "config", None)
    if not isinstance(getattr(config, "model_type", None), str) or isinstance(loader, Iterator):
        return False
    return any(base.__module__.split(".")[0] == "transformers" for base in type(config).__mro__)


def takes_token_types(model: Any) -> bool:
    """Return whether the model uses ``token_type_ids``.

    BERT's do. DistilBERT's forward has no such parameter, and RoBERTa's has one but embeds a single type
    (``type_vocab_size: 1``), so that a 1 among them would be out of range.
    """
    types = getattr(getattr(model, "config", None), "type_vocab_size", None)
    named = inspect.signature(model.forward).parameters
    if "token_type_ids" in named:
        return types is None or types > 1
    # A module around the model may take **kwargs and pass them on; then only the configuration tells.
    return "input_ids" not in named and types is not None and types > 1


def _pair(batch: Any, number: int, token_types: bool) -> tuple[Any, Any]:
    """Return one batch as ``(input, labels)``."""
    if isinstance(batch, Mapping):
        if "labels" not in batch:
            raise DataError(
                f"data loader, batch {number}: a mapping without 'labels' (it has {', '.join(map(str, batch))}); "
                "yield (inputs, labels), or put the labels into the mapping"
            )
        return batch, batch["labels"]
    if not isinstance(batch, Sequence) or isinstance(batch, str | bytes):
        raise _unfit(batch, number)
    return (batch[0], batch[1]) if len(batch) == 2 else _from_tensors(batch, number, token_types)


def _from_tensors(batch: Sequence[Any], number: int, token_types: bool) -> tuple[Any, Any]:
    """Return 3 to 5 tensors as ``(keyword inputs, labels)``."""
    names, count = _names(batch) if 3 <= len(batch) <= 5 else ((), 0)
    if not names:
        raise _unfit(batch, number)
    inputs = dict(zip(names, batch, strict=False))
    if not token_types:
        inputs.pop("token_type_ids", None)
    labels = tuple(batch[-count:])
    return inputs, labels if count > 1 else labels[0]


def _names(batch: Sequence[Any]) -> tuple[tuple[str, ...], int]:
    """Return the names of the inputs among 3 to 5 tensors and the number of labels; no names where unfit."""
    shapes = [tuple(getattr(item, "shape", ())) for item in batch]
    tokens, rows = shapes[0], shapes[0][:1]
    if len(tokens) != 2 or any(shape[:1] != rows for shape in shapes) or shapes[1] != tokens:
        return (), 0
    plain = ("input_ids", "attention_mask")
    typed = (*plain, "token_type_ids")
    has_types = shapes[2] == tokens
    if len(batch) == 3:
        return plain, 1
    if len(batch) == 4:
        return (typed, 1) if has_types else (plain, 2)
    return (typed, 2) if has_types else ((), 0)


def _unfit(batch: Any, number: int) -> DataError:
    """Return the error for a batch that no rule fits."""
    kind = type(batch).__name__
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        items = [f"{type(item).__name__}{list(getattr(item, 'shape', ())) or ''}" for item in batch[:8]]
        kind = f"a {kind} of {len(batch)} ({', '.join(items)})"
    return DataError(
        f"data loader, batch {number}: got {kind}; yield (inputs, labels), or tensors in the order (input_ids, "
        "attention_mask, token_type_ids, labels), all with the same number of rows"
    )
