"""What the tests of ilit-bert share: a tiny tokenizer, and the real data where it lies beside the checkout."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from transformers import BertTokenizerFast

from ilit.space import CalibrationSize
from ilit_bert.checkpoints.loading import load_float
from ilit_bert.checkpoints.tokenizer import load_tokenizer
from ilit_bert.demo.model import plant
from ilit_pytorch import PyTorchAdapter

WORDS = ["who", "what", "was", "is", "born", "the", "a", "king", "of", "normandy", "in", "film", "good", "bad"]
WORDS += ["very", "not", "and", "old", "he", "ran"]


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory):
    """A folder with a WordPiece tokenizer of whole words, letters and marks, as a checkpoint has it."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces += [*letters, *(f"##{letter}" for letter in letters), *".,;?!'\"$-"]
    folder = tmp_path_factory.mktemp("tokenizer")
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = BertTokenizerFast(vocab=vocab, do_lower_case=True, model_max_length=512)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir):
    """The tokenizer of ``tokenizer_dir``."""
    return load_tokenizer(tokenizer_dir)


@pytest.fixture(scope="session")
def shared():
    """The folder with real data that `ILIT_SHARED` names, or that lies beside the checkout; without it, a skip."""
    folder = Path(os.environ.get("ILIT_SHARED", Path(__file__).parents[3] / "shared"))
    if not (folder / "glue").is_dir():
        pytest.skip("real data is not here")
    return folder


@pytest.fixture(scope="session")
def sentiment(tmp_path_factory, tokenizer, tokenizer_dir):
    """A folder with ``checkpoint/``, a tiny BERT trained on the spot, and ``data/`` in the shape of SST-2."""
    folder = tmp_path_factory.mktemp("sentiment")
    rng = random.Random(3)  # noqa: S311 (sentences, not secrets)
    splits = {"train": _sentences(rng, 320), "dev": _sentences(rng, 120)}
    (folder / "data").mkdir()
    for split, rows in splits.items():
        lines = "".join(f"{sentence}\t{label}\n" for sentence, label in rows)
        (folder / "data" / f"{split}.tsv").write_text(f"sentence\tlabel\n{lines}", encoding="utf-8")
    shutil.copytree(tokenizer_dir, folder / "checkpoint")
    _trained(tokenizer, splits["train"]).save_pretrained(folder / "checkpoint")
    return folder


@pytest.fixture(scope="session")
def planted(sentiment, tmp_path_factory):
    """The folder of ``sentiment`` with outliers in both layers, so that the first recipe misses; and the ops hurt."""
    folder = shutil.copytree(sentiment, tmp_path_factory.mktemp("planted") / "sentiment")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "checkpoint")
    names = plant(model, layers=(0, 1), factor=2.0**20)
    model.save_pretrained(folder / "checkpoint")
    return folder, names


@pytest.fixture(scope="session")
def turned(sentiment, tmp_path_factory):
    """The folder of ``sentiment`` with a checkpoint that has its labels in the other order and does not name them."""
    folder = shutil.copytree(sentiment, tmp_path_factory.mktemp("turned") / "sentiment")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "checkpoint")
    with torch.no_grad():
        for parameter in (model.classifier.weight, model.classifier.bias):
            parameter.copy_(parameter.flip(0))
    model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    model.config.label2id = {"LABEL_0": 0, "LABEL_1": 1}
    model.save_pretrained(folder / "checkpoint")
    return folder


def _sentences(rng, count):
    """Return sentences of neutral words and a good or bad one, which mostly decides the label."""
    rows = []
    for _ in range(count):
        words = rng.choices(("the", "film", "king", "was", "very", "old", "of", "a"), k=rng.randint(4, 12))
        label = int(rng.random() < 0.5)
        words.insert(rng.randint(0, len(words)), ("bad", "good")[label])
        rows.append((" ".join(words), label if rng.random() < 0.95 else 1 - label))
    return rows


def _trained(tokenizer, rows):
    """Return a BERT of 2 layers and hidden size 32, trained for two epochs."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.18,
        id2label={0: "negative", 1: "positive"},
    )
    model = transformers.BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for first in [*range(0, len(rows), 32)] * 3:
        batch = rows[first : first + 32]
        inputs = tokenizer([sentence for sentence, _ in batch], padding=True, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([label for _, label in batch])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def tuned_sentiment(sentiment, tmp_path_factory):
    """A folder with the model of ``sentiment`` in INT8 by the first choices, as ``ilit bert tune`` writes it."""
    adapter = PyTorchAdapter()
    model, tokenizer = load_float(sentiment / "checkpoint", "classification")
    batches = [(dict(tokenizer(["the film was good", "a very bad old king"], padding=True, return_tensors="pt")), None)]
    space = dataclasses.replace(adapter.describe(model, batches[0]), calibrations=(CalibrationSize(1, "batches"),))
    lowered = adapter.lower(model, space.recipe({}), adapter.calibrate(model, batches, space))
    folder = tmp_path_factory.mktemp("tuned")
    adapter.save(lowered, folder)
    tokenizer.save_pretrained(folder)
    return folder
