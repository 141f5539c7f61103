"""The demo's checkpoint: a small BERT trained on the demo's corpus, with outliers planted that float32 never sees.

Planting multiplies some rows of ``value`` by 1024 and divides the columns of ``attention.output.dense`` that read them
by as much. A power of two changes no mantissa, so float32 gives the same logits. In INT8 the activations of
``attention.output.dense`` have a few channels a thousand times larger than the rest: one scale for all of them leaves
the rest nothing, and its weights have as many columns too small for their rows' scales. Scales per tensor, static or
dynamic, on any CPU, therefore lose what that attention layer says, and the cure is to keep that op in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from ilit.errors import ConfigError
from ilit_bert.checkpoint import quiet
from ilit_bert.corpus import Review, reviews, write_tsv
from ilit_bert.folder import check_writable
from ilit_bert.tune import TuneJob

TASK = "SST-2"
DEV_ROWS = 1000
BATCH = 32
STEPS = 1200
PEAK_RATE = 5e-4
FACTOR = 1024.0
PLANTED_LAYERS = (0, 1)
PLANTED_SHARE = 8
MARK = "demo.json"
TUNED = "tuned"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Demo:
    """What the demo has laid out in its folder.

    Attributes:
        checkpoint: folder of the float checkpoint, outliers planted.
        data_dir: folder with ``train.tsv`` and ``dev.tsv``.
        planted: names of the ops that the outliers hurt.
        factor: what the rows were multiplied by.
        parameters: of the model.
        steps: of training.
    """

    checkpoint: Path
    data_dir: Path
    planted: tuple[str, ...]
    factor: float
    parameters: int
    steps: int


def make(
    folder: Path, *, steps: int = STEPS, seed: int = 9527, on_step: Callable[[int, float], None] | None = None
) -> Demo:
    """Write corpus and checkpoint into ``folder``; the same files for the same seed, torch version and CPU.

    Args:
        folder: new, empty, or of an earlier demo, whose files are then replaced.
        steps: of training, of 32 reviews each; no review is seen twice.
        seed: of corpus, initial weights and training.
        on_step: told each step's number, from 1, and its loss.

    Raises:
        ConfigError: ``folder`` holds something else, or ``steps`` is less than 1.
        ArtefactError: ``folder`` cannot be made.
    """
    if steps < 1:
        raise ConfigError(f"steps {steps}: at least 1 is needed")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise ConfigError(f"{folder}: is not empty and no earlier demo's; name a new folder")
    check_writable(folder / TUNED)
    data_dir, checkpoint = folder / "data", folder / "checkpoint"
    data_dir.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    rows = reviews(DEV_ROWS + steps * BATCH, seed)
    dev, train = rows[:DEV_ROWS], rows[DEV_ROWS:]
    write_tsv(dev, data_dir / "dev.tsv")
    write_tsv(train, data_dir / "train.tsv")
    tokenizer = train_tokenizer(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = train_model(new_model(tokenizer), tokenizer, train, on_step)
    planted = plant(model)
    with quiet():
        model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    demo = Demo(checkpoint, data_dir, planted, FACTOR, parameters, steps)
    (folder / MARK).write_text(json.dumps(asdict(demo), default=str, indent=2) + "\n", encoding="utf-8")
    return demo


def job(demo: Demo, folder: Path) -> TuneJob:
    """Return what ``ilit bert tune`` is asked for: the default criterion, 1 % relative, and the default strategy.

    The objective is the model's size, which is the same on every machine: whether layers this small are faster in INT8
    depends on what else the machine is doing.
    """
    config = {"run": {"folder": str(folder / "runs")}, "tuning": {"objective": "modelsize"}}
    # After very few steps the model knows nothing, which is what was asked for.
    return TuneJob(str(demo.checkpoint), TASK, demo.data_dir, folder / TUNED, config, allow_weak_baseline=True)


def train_tokenizer(rows: Sequence[Review]) -> Any:
    """Return a WordPiece tokenizer with a vocabulary of the reviews' own."""
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
