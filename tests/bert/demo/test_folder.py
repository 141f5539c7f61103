"""Promises of ``ilit_bert.demo.folder``: an ordinary checkpoint with its data, in a folder of its own."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from ilit.errors import ArtefactError, ConfigError
from ilit_bert.checkpoints.loading import load_float
from ilit_bert.demo.corpus import reviews
from ilit_bert.demo.folder import DEV_ROWS, Demo, job, make
from ilit_bert.demo.model import FACTOR


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """A demo trained for two steps, and what it told of them."""
    folder, told = tmp_path_factory.mktemp("demo"), []
    return make(folder, steps=2, on_step=lambda *step: told.append(step)), folder, told


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
    assert tokenizer.unk_token_id not in tokenizer(reviews(1, 9527)[0].sentence)["input_ids"]
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
