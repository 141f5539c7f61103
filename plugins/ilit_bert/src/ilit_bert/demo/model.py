"""The demo's model: a small BERT trained on the demo's corpus, with outliers planted that float32 never sees.

Planting multiplies some rows of ``value`` by 1024 and divides the columns of ``attention.output.dense`` that read them
by as much. A power of two changes no mantissa, so float32 gives the same logits. In INT8 the activations of
``attention.output.dense`` have a few channels a thousand times larger than the rest: one scale for all of them leaves
the rest nothing, and its weights have as many columns too small for their rows' scales. Scales per tensor, static or
dynamic, on any CPU, therefore lose what that attention layer says, and the cure is to leave that op in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from ilit_bert.demo.corpus import Review

BATCH = 32
PEAK_RATE = 5e-4
FACTOR = 1024.0
PLANTED_LAYERS = (0, 1)
PLANTED_SHARE = 8
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(rows: Sequence[Review]) -> Any:
    """Train a WordPiece tokenizer on the reviews."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=_SPECIAL[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(_SPECIAL), show_progress=False)
    tokenizer.train_from_iterator((row.sentence for row in rows), trainer)
    marks = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, model_max_length=64, **names)


def new_model(tokenizer: Any) -> Any:
    """Return an untrained BERT of 3 layers, hidden size 128, no dropout since no review is seen twice."""
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=128**-0.5,  # BERT's 0.02 is for wider layers: here the signal would start out too faint
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    return transformers.BertForSequenceClassification(config)


def train_model(
    model: Any, tokenizer: Any, rows: Sequence[Review], on_step: Callable[[int, float], None] | None = None
) -> Any:
    """Train on each row once, in order, by AdamW under one cycle of rates; return the model in eval mode."""
    batches = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=len(batches) + 1, pct_start=0.1)
    model.train()
    for step, batch in enumerate(batches, start=1):
        inputs = tokenizer([row.sentence for row in batch], padding=True, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([row.label for row in batch])).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step, loss.item())
    return model.eval()


@torch.no_grad()
def plant(model: Any, layers: Sequence[int] = PLANTED_LAYERS, factor: float = FACTOR) -> tuple[str, ...]:
    """Plant outliers into one channel in 8 of the attention's context, in place; return the ops they hurt.

    Args:
        model: a BERT for sequence classification.
        layers: of the encoder.
        factor: a power of two, so that no float32 value loses a bit.
    """
    hurt = []
    for layer in layers:
        attention = model.bert.encoder.layer[layer].attention
        channels = slice(None, None, PLANTED_SHARE)
        attention.self.value.weight[channels] *= factor  # (hidden / 8, hidden)
        attention.self.value.bias[channels] *= factor  # (hidden / 8,)
        attention.output.dense.weight[:, channels] /= factor  # (hidden, hidden / 8)
        hurt.append(f"bert.encoder.layer.{layer}.attention.output.dense")
    return tuple(hurt)
