"""BERT with a ``QuantStub`` at each activation that is quantized: 4 a layer, where query, key and value share one.

The classes derive from those of transformers and hold no parameters of their own, so a prepared model has the same
``state_dict`` keys and, its top class untouched, saves the original class in ``architectures``. They are put under an
already built model and never registered with transformers' auto classes: other code in the process sees plain BERT.
In INT8 GELU and residuals are part of the kernels, and a classifier's last layer runs for the token that is read.

The shapes relied on (``BertSelfAttention.forward(hidden_states, attention_mask, ...)`` and the ``dense`` layers of the
four other blocks) are those of transformers 5.0 to 5.23; ``transformers>=5,<6`` is this package's requirement.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
from transformers.activations import ACT2CLS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert import modeling_bert as original

from ilit_pytorch import QuantStub, feed_forward, linear_activation, linear_add, rowwise, unobserved


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
        shared = self.stub(hidden_states)
        return self._attend(self.query(shared), shared, attention_mask, options)

    def first_token(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Return the context of each row's first token, (rows, 1, hidden), which reads keys and values of all.

        Its query is an op's call on a tensor that no stub gave, so the op must not be a dynamic one.
        """
        mask = None if attention_mask is None else attention_mask[:, :, :1]  # (rows, 1, 1, length)
        query = self.query(hidden_states[:, :1])  # (rows, 1, hidden)
        return self._attend(query, self.stub(hidden_states), mask, {})[0]

    def _attend(
        self, queries: torch.Tensor, shared: Any, attention_mask: torch.Tensor | None, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from ``queries``, (rows, length or 1, hidden), to keys and values of what the stub gave."""
        query, key, value = (
            projected.view(*projected.shape[:-1], -1, self.attention_head_size).transpose(1, 2)
            for projected in (queries, self.key(shared), self.value(shared))
        )  # (rows, heads, length, head size) each
        name = self.config._attn_implementation  # noqa: SLF001 (transformers has no public name for it)
        attend: Callable[..., Any] = (
            original.eager_attention_forward if name == "eager" else ALL_ATTENTION_FUNCTIONS[name]
        )
        dropout = self.dropout.p if self.training else 0.0
        context, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **options
        )
        return context.reshape(*queries.shape[:-1], -1).contiguous(), weights  # (rows, length, hidden)


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
    """A layer whose second feed-forward projection may read what the first gives as codes.

    In INT8 it may also be asked for the first token alone, where nobody watches what is inside.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *others: Any,
        first_token_of: torch.nn.Module | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Run the layer.

        Args:
            hidden_states: float32, (rows, length, hidden).
            attention_mask: as the attention implementation wants it, (rows, 1, length, length) or None.
            others: what transformers gives decoders.
            first_token_of: the layer of whose output only the first token is read.
            options: passed on to the attention.

        Returns:
            (rows, length, hidden); (rows, 1, hidden) where this is the layer asked for and gives that alone.
        """
        sliceable = attention_mask is None or attention_mask.ndim == 4
        if first_token_of is self and sliceable and self._can_leave_out():
            attention: Any = self.attention
            context = attention.self.first_token(hidden_states, attention_mask)
            first = hidden_states[:, :1].contiguous()  # (rows, 1, hidden)
            return self.feed_forward_chunk(attention.output(context, first))
        given: torch.Tensor = super().forward(hidden_states, attention_mask, *others, **options)
        return given

    def _can_leave_out(self) -> bool:
        """Return whether tokens may be left out: each is by itself but in attention, and nobody looks at them."""
        attention: Any = self.attention
        blocks = (attention.self, attention.output, self.intermediate, self.output)
        beside = [
            part for block in blocks[1:] for name, part in block.named_children() if name not in ("dense", "stub")
        ]
        modules = list(self.modules())
        return (
            tuple(map(type, (attention, *blocks))) == _BLOCKS
            and rowwise(attention.self.query, *(block.dense for block in blocks[1:]))
            and "intermediate_act_fn" in dict(self.intermediate.named_children())
            and all(type(part) in _BY_TOKEN for part in beside)
            and attention.self.config._attn_implementation in ("sdpa", "eager")  # noqa: SLF001 (as above)
            and not any(module.training for module in modules)
            and unobserved(*modules)
        )

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


_BLOCKS = (
    original.BertAttention, PreparedSelfAttention, PreparedSelfOutput, PreparedIntermediate, PreparedOutput,
)  # fmt: skip
_TABLE: dict[str, Any] = ACT2CLS  # name -> a class, or a class and its arguments
_ACTIVATIONS = {found[0] if isinstance(found, tuple) else found for found in _TABLE.values()}
_BY_TOKEN = {torch.nn.LayerNorm, torch.nn.Dropout, *_ACTIVATIONS}
"""Modules beside the Linears that give each token's output from that token alone."""

PREPARED: dict[type[torch.nn.Module], type[torch.nn.Module]] = {
    original.BertSelfAttention: PreparedSelfAttention,
    original.BertSelfOutput: PreparedSelfOutput,
    original.BertIntermediate: PreparedIntermediate,
    original.BertOutput: PreparedOutput,
    original.BertLayer: PreparedLayer,
    original.BertPooler: PreparedPooler,
}


_POSITIONS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds", "labels")
_GIVEN = {*_POSITIONS, "return_dict"}
_MORE = ("output_hidden_states", "output_attentions")


def ask_for_first_token(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Tell the last layer that only its first token is read; the pre-hook of a prepared sequence classifier.

    Its forward reads what the pooler gives, and that reads the first token. Who calls the encoder in it, or asks for
    more than logits and loss, gets every token.

    Returns:
        Arguments for the forward, or None for those given.
    """
    bert = model.bert
    classes = (original.BertForSequenceClassification, original.BertModel, original.BertEncoder, PreparedPooler)
    refused = {name for name in _MORE if not kwargs.get(name)}
    if (
        not model.training
        and len(args) <= len(_POSITIONS)
        and kwargs.keys() <= _GIVEN | refused
        and not any(getattr(model.config, name, False) for name in _MORE)
        and tuple(map(type, (model, bert, bert.encoder, bert.pooler))) == classes
        and "forward" not in vars(model)
        and unobserved(bert, bert.encoder, bert.pooler)
    ):
        layers = list(bert.encoder.layer)
        if layers and sum(layer is layers[-1] for layer in layers) == 1:
            return args, {**kwargs, "first_token_of": layers[-1]}
    return None


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
    if _hands_on_options(prepared) and ask_for_first_token not in prepared._forward_pre_hooks.values():  # noqa: SLF001 (torch has no public name for it)
        prepared.register_forward_pre_hook(ask_for_first_token, with_kwargs=True)
    return prepared


def _hands_on_options(model: torch.nn.Module) -> bool:
    """Return whether a model is a sequence classifier that hands options on to its layers, as not all releases do."""
    chain = (original.BertForSequenceClassification, original.BertModel, original.BertEncoder)
    forwards = [list(inspect.signature(cls.forward).parameters.values()) for cls in chain]
    named = tuple(parameter.name for parameter in forwards[0][1 : len(_POSITIONS) + 1])
    options = [each for each in forwards if any(parameter.kind is parameter.VAR_KEYWORD for parameter in each)]
    return type(model) is chain[0] and named == _POSITIONS and options == forwards
