"""BERT with a ``QuantStub`` at each activation that is quantized: 4 a layer, where query, key and value share one.

The classes derive from those of transformers and hold no parameters of their own, so a prepared model has the same
``state_dict`` keys and, its top class untouched, saves the original class in ``architectures``. They are put under an
already built model and never registered with transformers' auto classes: other code in the process sees plain BERT.

The shapes relied on (``BertSelfAttention.forward(hidden_states, attention_mask, ...)`` and the ``dense`` layers of the
four other blocks) are those of transformers 5.0 to 5.23; ``transformers>=5,<6`` is this package's requirement.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert import modeling_bert as original

from ilit_pytorch import QuantStub, feed_forward, linear_activation, linear_add, unobserved


class PreparedSelfAttention(original.BertSelfAttention):
    """Encoder self-attention whose query, key and value read one stub."""

    stub: QuantStub

    # Releases of transformers differ in whether there is a cache of past keys and values to take; an encoder has none.
    def forward(  # type: ignore[override, unused-ignore]
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend within each row.

        Args:
            hidden_states: float32, (rows, length, hidden).
            attention_mask: as the attention implementation wants it, (rows, 1, length, length) or None.
            options: passed on to the attention implementation.

        Returns:
            The context, (rows, length, hidden), and the attention weights where the implementation gives them.
        """
        per_head = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        shared = self.stub(hidden_states)
        query = self.query(shared).view(per_head).transpose(1, 2)  # (rows, heads, length, head size)
        key = self.key(shared).view(per_head).transpose(1, 2)  # (rows, heads, length, head size)
        value = self.value(shared).view(per_head).transpose(1, 2)  # (rows, heads, length, head size)
        name = self.config._attn_implementation  # noqa: SLF001 (transformers has no public name for it)
        attend: Callable[..., Any] = (
            original.eager_attention_forward if name == "eager" else ALL_ATTENTION_FUNCTIONS[name]
        )
        dropout = self.dropout.p if self.training else 0.0
        context, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **options
        )
        return context.reshape(*hidden_states.shape[:-1], -1).contiguous(), weights  # (rows, length, hidden)


class PreparedSelfOutput(original.BertSelfOutput):
    """Projection of the attention's context behind a stub, then the residual and LayerNorm."""

    stub: QuantStub

    def forward(self, hidden_states: torch.Tensor, input_tensor: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, hidden) from two of that shape."""
        summed = linear_add(self.dense, self.stub(hidden_states), input_tensor, dropout=self.dropout)
        normed: torch.Tensor = self.LayerNorm(summed)
        return normed


class PreparedIntermediate(original.BertIntermediate):
    """First feed-forward projection behind a stub, then the activation function."""

    stub: QuantStub

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, intermediate) from (rows, length, hidden)."""
        return linear_activation(self.dense, self.intermediate_act_fn, self.stub(hidden_states))


class PreparedOutput(original.BertOutput):
    """Second feed-forward projection behind a stub, then the residual and LayerNorm."""

    stub: QuantStub

    def forward(self, hidden_states: torch.Tensor, input_tensor: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, hidden) from (rows, length, intermediate) and (rows, length, hidden)."""
        summed = linear_add(self.dense, self.stub(hidden_states), input_tensor, dropout=self.dropout)
        normed: torch.Tensor = self.LayerNorm(summed)
        return normed


class PreparedLayer(original.BertLayer):  # type: ignore[no-untyped-call]  # transformers has not typed it
    """A layer whose second feed-forward projection may read what the first gives as codes."""

    def feed_forward_chunk(self, attention_output: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, hidden) from that shape; both blocks are called where somebody watches one of them."""
        up, down = self.intermediate, self.output
        if type(up) is not PreparedIntermediate or type(down) is not PreparedOutput or not unobserved(up, down):
            given: torch.Tensor = super().feed_forward_chunk(attention_output)  # type: ignore[no-untyped-call]  # as above
            return given
        shared = up.stub(attention_output)
        summed = feed_forward(
            up.dense, up.intermediate_act_fn, down.dense, shared, attention_output, down.stub, down.dropout
        )
        normed: torch.Tensor = down.LayerNorm(summed)
        return normed


class PreparedPooler(original.BertPooler):
    """Projection of the first token; the token is taken before the stub, whose output only ``dense`` may read."""

    stub: QuantStub

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return (rows, hidden) from (rows, length, hidden)."""
        pooled: torch.Tensor = self.activation(self.dense(self.stub(hidden_states[:, 0])))
        return pooled


PREPARED: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    original.BertSelfAttention: PreparedSelfAttention,
    original.BertSelfOutput: PreparedSelfOutput,
    original.BertIntermediate: PreparedIntermediate,
    original.BertOutput: PreparedOutput,
    original.BertLayer: PreparedLayer,
    original.BertPooler: PreparedPooler,
}


def prepare(model: torch.nn.Module) -> torch.nn.Module:
    """Return ``model`` with stubs where it is a BERT encoder; any other model is returned as it is.

    The given model is not changed; the returned one shares its parameters and buffers and gives bit-equal outputs.
    Decoders, whose self-attention also serves a cache, stay unprepared. So do the heads (``classifier``,
    ``qa_outputs``): each is the only reader of its input and quantizes it once without a stub.
    """
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) != "bert" or getattr(config, "is_decoder", False):
        return model
    shared = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
    prepared = copy.deepcopy(model, shared)
    for module in list(prepared.modules()):
        replacement = PREPARED.get(type(module))
        if replacement is not None:
            module.__class__ = replacement
            if replacement is not PreparedLayer:
                module.add_module("stub", QuantStub())
    return prepared
