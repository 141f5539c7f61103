"""Which values of an activation belong to padding: what the attention mask leaves out counts in no statistic."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

MASKS = ("attention_mask", "decoder_attention_mask")


@dataclass
class Padding:
    """Where one batch has tokens and where padding.

    Attributes:
        tokens: leading axes of an activation -> positions of its tokens among them when flattened, int64.
        unread: a mask that does not say what is padding, by name and shape; empty where there is none.
    """

    tokens: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)
    unread: str = ""

    def without(self, value: torch.Tensor) -> torch.Tensor:
        """Return (tokens, ...) of an activation that has the mask's axes, without padding; any other as it is.

        Args:
            value: float (rows, tokens, ..., features) or (rows * tokens, features), or indices (rows, tokens).
        """
        if not self.tokens:
            return value
        leading = self._leading(tuple(value.shape), 1 if value.is_floating_point() else 0)
        if not leading:
            return value
        return value.reshape(-1, *value.shape[len(leading) :]).index_select(0, self.tokens[leading])

    def predictions_without(self, values: np.ndarray) -> np.ndarray:
        """Return a model's output likewise; (rows, tokens) too, as of the starts and ends of answers."""
        leading = self._leading(values.shape, 0)
        return values.reshape(-1, *values.shape[len(leading) :])[self.tokens[leading].numpy()] if leading else values

    def _leading(self, shape: tuple[int, ...], features: int) -> tuple[int, ...]:
        """Return the leading axes that are the mask's, where ``features`` or more follow; empty where none are."""
        leading = shape[: min(2, len(shape) - features)]
        return leading if leading in self.tokens else ()


def padding_of(model: torch.nn.Module, inputs: Any) -> Padding:
    """Return the padding of a batch, by ``attention_mask`` and ``decoder_attention_mask`` among its inputs.

    A mask is (rows, tokens) of 1 and 0 or true and false. Activations are told by their shapes, sequence first too.
    Two masks of one shape leave out what both do. A decoder without a mask of its own leaves out nothing, or, where it
    reads the encoder's tokens one place later, what the encoder does.
    """
    named = _named(model, inputs)
    given = {name: named[name] for name in MASKS if isinstance(named.get(name), torch.Tensor)}
    read = {
        name: mask for name, mask in ((name, token_mask(value)) for name, value in given.items()) if mask is not None
    }
    unread = next((f"{name} of shape {tuple(given[name].shape)}" for name in given if name not in read), "")
    taken = next((name for name, mask in read.items() if _coincides(named, mask)), "")
    if taken:
        return Padding(unread=f"{taken} of shape {tuple(read[taken].shape)}, which another input has as well,")
    masks = list(read.values())
    if masks and _decodes_unmasked(model, named):
        masks.append(_decoder_mask(named, masks[0]))
    by_shape: dict[tuple[int, ...], torch.Tensor] = {}
    for mask in masks:
        by_shape[tuple(mask.shape)] = mask | by_shape.get(tuple(mask.shape), mask)
    padding = Padding(unread=unread)
    for mask in by_shape.values():
        _note(padding, mask)
    return padding


def _coincides(named: Mapping[str, Any], mask: torch.Tensor) -> bool:
    """Whether something that is no text has as many entries a row as there are tokens, as of frames or patches."""
    others = (value for name, value in named.items() if not name.endswith(("inputs_embeds", "mask", "mask_labels")))
    return any(
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.ndim > 2
        and value.shape[:2] == mask.shape
        for value in others
    )


def _note(padding: Padding, mask: torch.Tensor) -> None:
    if bool(mask.all()):
        return
    rows, length = mask.shape
    tokens = mask.flatten().nonzero().flatten()
    padding.tokens.setdefault((rows, length), tokens)
    padding.tokens.setdefault((rows * length,), tokens)
    padding.tokens.setdefault((length, rows), mask.t().flatten().nonzero().flatten())


def _named(model: torch.nn.Module, inputs: Any) -> dict[str, Any]:
    """Return the arguments of the forward by name, and what is in a mapping among them."""
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    else:
        values = inputs if isinstance(inputs, tuple | list) else (inputs,)
        try:
            named = inspect.signature(model.forward).bind(*values).arguments
        except (TypeError, ValueError):  # the forward says itself what is wrong with them
            return {}
    inner = [value for value in named.values() if isinstance(value, Mapping)]
    return {name: value for mapping in (*inner, named) for name, value in mapping.items()}


def token_mask(given: torch.Tensor) -> torch.Tensor | None:
    """Return a mask as bool (rows, tokens), true for tokens; None where it does not say what is padding."""
    mask = given.detach() != 0
    added = given.is_floating_point() and not bool(mask.any())  # to attention scores, where 0 leaves a token in
    return mask if given.ndim == 2 and bool((given == mask).all()) and not added else None


def _decodes_unmasked(model: torch.nn.Module, named: Mapping[str, Any]) -> bool:
    """Whether a decoder runs beside the encoder on tokens that no mask of its own is given for."""
    parameters = inspect.signature(model.forward).parameters
    return "decoder_input_ids" in parameters and named.get("decoder_attention_mask") is None


def _decoder_mask(named: Mapping[str, Any], mask: torch.Tensor) -> torch.Tensor:
    """Return true for every token the decoder reads."""
    for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels"):
        given = named.get(name)
        if isinstance(given, torch.Tensor) and given.ndim > 1:
            return torch.ones(given.shape[:2], dtype=torch.bool)
    return torch.cat([torch.ones_like(mask[:, :1]), mask[:, :-1]], dim=1)
