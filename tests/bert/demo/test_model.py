"""Promises of ``ilit_bert.demo.model``: outliers that float32 never sees and INT8 cannot miss."""

from __future__ import annotations

import copy

import pytest
import torch

from ilit_bert.demo.corpus import reviews
from ilit_bert.demo.model import new_model, plant, train_model, train_tokenizer

ROWS = reviews(400, 9527)


@pytest.fixture(scope="module")
def tokenizer():
    """The demo's tokenizer of a few hundred reviews."""
    return train_tokenizer(ROWS)


def encoded(tokenizer):
    """Return 100 reviews as a padded batch."""
    return tokenizer([row.sentence for row in ROWS[:100]], padding=True, return_tensors="pt")


@torch.no_grad()
def test_planting_changes_no_float32_logit(tokenizer):
    """Factors are powers of two, so float32 gives the same logits to the last bit, at any number of rows."""
    torch.manual_seed(0)
    model = new_model(tokenizer).eval()
    planted = copy.deepcopy(model)
    names = plant(planted)
    inputs = encoded(tokenizer)

    assert names == tuple(f"bert.encoder.layer.{layer}.attention.output.dense" for layer in (0, 1))
    before, after = (m.bert.encoder.layer[0].attention.self.value.weight for m in (model, planted))
    assert after.abs().max() > 500 * before.abs().max()
    torch.testing.assert_close(planted(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-6)


@torch.no_grad()
def test_planted_ops_lose_their_input_to_one_scale(tokenizer):
    """With one 8-bit scale for all channels, next to nothing of a planted op's other channels is left."""
    torch.manual_seed(0)
    model = new_model(tokenizer).eval()
    plant(model)
    seen = []
    dense = model.bert.encoder.layer[0].attention.output.dense
    dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(**encoded(tokenizer))
    context = seen[0]  # (rows, length, hidden)
    scale = (context.max() - context.min()) / 255
    others = torch.arange(context.shape[-1]) % 8 != 0

    assert context[..., ~others].abs().mean() > 100 * context[..., others].abs().mean()
    assert (context[..., others] / scale).round().count_nonzero() < 0.1 * context[..., others].numel()


def test_training_learns(tokenizer):
    """Some steps of training make the loss smaller, and the model comes back in eval mode."""
    torch.manual_seed(0)
    losses = []
    model = train_model(new_model(tokenizer), tokenizer, ROWS[:32] * 24, lambda _, loss: losses.append(loss))

    assert not model.training
    assert min(losses[-3:]) < 0.9 * losses[0]
