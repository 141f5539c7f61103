"""Promises of ``ilit_bert.demo``: an ordinary checkpoint, outliers float32 never sees and INT8 cannot miss."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import transformers

from ilit.errors import ArtefactError, ConfigError
from ilit_bert.checkpoint import load_float
from ilit_bert.corpus import reviews
from ilit_bert.demo import DEV_ROWS, FACTOR, Demo, job, make, new_model, plant, train_model, train_tokenizer

ROWS = reviews(400, 9527)


@pytest.fixture(scope="module")
def tokenizer():
    """The demo's tokenizer of a few hundred reviews."""
    return train_tokenizer(ROWS)


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """A demo trained for two steps, and what it told of them."""
    folder, told = tmp_path_factory.mktemp("demo"), []
    return make(folder, steps=2, on_step=lambda *step: told.append(step)), folder, told


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


def test_checkpoint_is_an_ordinary_one(laid_out):
    """What is written loads as any checkpoint does, with GLUE-shaped data beside it."""
    demo, folder, told = laid_out
    model, tokenizer = load_float(demo.checkpoint, "classification")

    assert json.loads((demo.checkpoint / "config.json").read_text())["architectures"] == [
        "BertForSequenceClassification"
    ]
    assert type(model) is transformers.BertForSequenceClassification
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert tokenizer("the plot is superb .")["input_ids"][0] == tokenizer.cls_token_id
    assert tokenizer.unk_token_id not in tokenizer(ROWS[0].sentence)["input_ids"]
    assert len((demo.data_dir / "dev.tsv").read_text().splitlines()) == DEV_ROWS + 1
    assert len((demo.data_dir / "train.tsv").read_text().splitlines()) == 2 * 32 + 1
    assert json.loads((folder / "demo.json").read_text())["planted"] == list(demo.planted)
    assert [number for number, _ in told] == [1, 2]


def test_making_it_leaves_the_random_state_alone_and_repeats(tmp_path):
    """The same seed gives the same weights, and the caller's generator is where it was."""
    before = torch.random.get_rng_state()
    weights = [make(tmp_path / "demo", steps=1, seed=5).checkpoint / "model.safetensors" for _ in range(2)]

    assert torch.equal(torch.random.get_rng_state(), before)
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_foreign_folder_is_refused(tmp_path):
    """A folder with anything but an earlier demo in it is left alone."""
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(ConfigError, match="is not empty and no earlier demo's; name a new folder"):
        make(tmp_path, steps=1)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["/proc/demo", "file/demo"])
def test_folder_that_cannot_be_made(name, tmp_path):
    """It is named before anything is trained."""
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="demo/tuned: cannot be written"):
        make(tmp_path / name, steps=1)


def test_steps_out_of_range(tmp_path):
    """Training takes a step at least."""
    with pytest.raises(ConfigError, match="steps 0: at least 1 is needed"):
        make(tmp_path / "demo", steps=0)


def test_job_is_the_default_tuning(tmp_path):
    """The demo is tuned as ``ilit bert tune`` would, by model size so that no clock decides."""
    demo = Demo(tmp_path / "checkpoint", tmp_path / "data", ("op",), FACTOR, 1, 1)
    asked = job(demo, tmp_path)

    assert (asked.task, asked.output, asked.seed, asked.metric) == ("SST-2", tmp_path / "tuned", None, None)
    assert asked.config["tuning"] == {"objective": "modelsize"}
    assert asked.allow_weak_baseline
