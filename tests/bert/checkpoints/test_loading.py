"""Promises of ``ilit_bert.checkpoints.loading``: whole models or one line on what is wrong, no random head."""

from __future__ import annotations

import dataclasses
import json

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ilit.errors import ModelError
from ilit.space import CalibrationSize
from ilit_bert.checkpoints.heads import CLASSIFICATION, QUESTION_ANSWERING
from ilit_bert.checkpoints.loading import build, head_of, load_float, load_model
from ilit_pytorch import PyTorchAdapter, QuantStub

BERT = {
    "vocab_size": 110,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
DISTIL = {"vocab_size": 110, "dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64}
MODELS = {
    "bert": lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)),
    "bert-qa": lambda: transformers.BertForQuestionAnswering(transformers.BertConfig(**BERT)),
    "distilbert": lambda: transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**DISTIL)),
    "roberta": lambda: transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**BERT)),
    "headless": lambda: transformers.BertModel(transformers.BertConfig(**BERT)),
}


@pytest.fixture
def saved(tmp_path, tokenizer):
    """Return a function that saves a model of ``MODELS`` with a tokenizer and returns its folder."""

    def save(name, dtype=torch.float32):
        folder = tmp_path / name
        torch.manual_seed(0)
        MODELS[name]().to(dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.mark.parametrize(("name", "stubs"), [("bert", 5), ("distilbert", 0), ("roberta", 0)])
def test_any_architecture_loads_and_bert_is_prepared(name, stubs, saved, tokenizer):
    """BERT comes back with stubs, others as they are; all give the checkpoint's own outputs."""
    folder = saved(name)
    model, loaded_tokenizer = load_float(folder, "classification")
    original = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}

    assert sum(isinstance(module, QuantStub) for module in model.modules()) == stubs
    assert not model.training
    assert model.config.architectures == [type(original).__name__]
    assert loaded_tokenizer("a film")["input_ids"] == tokenizer("a film")["input_ids"]
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, original(**inputs).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_weights_become_float32(dtype, saved):
    """A checkpoint stored in half precision is loaded as float32."""
    model, _ = load_float(saved("bert", dtype), "classification")

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_question_answering_head(saved):
    """The task's kind chooses the head."""
    model, _ = load_float(saved("bert-qa"), "question_answering")

    assert type(model) is transformers.BertForQuestionAnswering


def test_loading_leaves_transformers_logging_alone(saved):
    """Progress bars and verbosity are as they were, after success and after an error."""
    settings = transformers.utils.logging
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    load_float(saved("bert"), "classification")
    with pytest.raises(ModelError):
        load_float(saved("headless"), "classification")

    assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == before


def _cut(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layer.0.output" not in k}, folder / "model.safetensors")


def _resize(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "classifier.weight": torch.zeros(3, 32)}, folder / "model.safetensors")


def _pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _without(name):
    return lambda folder: (folder / name).unlink()


def _write(name, text):
    return lambda folder: (folder / name).write_text(text)


DAMAGES = {
    "missing-weights": (_cut, "has no weights for bert.encoder.layer.0.output.LayerNorm.bias"),
    "other-shape": (_resize, "cannot be loaded"),
    "pickle-only": (_pickle, "the weights are pickled"),
    "no-weights": (_without("model.safetensors"), "model.safetensors is missing"),
    "no-config": (_without("config.json"), "no checkpoint, config.json is missing"),
    "broken-config": (_write("config.json", "{"), "cannot be loaded"),
    "unknown-type": (_write("config.json", '{"model_type": "bart2"}'), "cannot be loaded"),
    "broken-weights": (_write("model.safetensors", "none"), "cannot be loaded"),
    "broken-tokenizer": (_write("tokenizer.json", "{"), "has no tokenizer that loads"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused_in_one_line(damage, saved):
    """Whatever is wrong with a folder is one line that starts with the folder."""
    change, text = DAMAGES[damage]
    folder = saved("bert")
    change(folder)

    with pytest.raises(ModelError) as caught:
        load_float(folder, "classification")
    assert text in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "keys"),
    [
        ("headless", "classification", "classifier.bias, classifier.weight"),
        ("bert", "question_answering", "qa_outputs.bias, qa_outputs.weight"),
    ],
    ids=["no head", "another head"],
)
def test_random_heads_are_refused(name, kind, keys, saved):
    """A head the checkpoint has no weights for is never tuned: the missing keys are named."""
    with pytest.raises(ModelError, match=f"no weights for {keys}.*fine-tuned for this task"):
        load_float(saved(name), kind)


def test_missing_folder(tmp_path):
    """A path that is not there, and a file, are told apart from a hub id."""
    with pytest.raises(ModelError, match="no such folder"):
        load_float(tmp_path / "nowhere", "classification")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file; name the folder"):
        load_float(tmp_path / "file", "classification")


def test_hub_id_without_network(monkeypatch):
    """A hub id that cannot be fetched is one line with both cures."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(ModelError, match="name a folder, or check the hub id and the network") as caught:
        load_float("nobody/no-such-model", "classification")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "head"), [("bert", CLASSIFICATION), ("distilbert", CLASSIFICATION), ("bert-qa", QUESTION_ANSWERING)]
)
def test_head_is_read_from_the_config(name, head, saved):
    """The class in ``architectures`` says which head a checkpoint has."""
    assert head_of(saved(name)) == head


def test_head_of_neither_kind(saved):
    """A checkpoint without such a head is refused by the class it names."""
    with pytest.raises(ModelError, match=r"config\.json names BertModel"):
        head_of(saved("headless"))


def test_wrong_head_of_a_tuned_folder(saved):
    """A tuned folder is asked for its head before it is loaded."""
    folder = saved("bert")
    (folder / "recipe.json").write_text("{}")

    with pytest.raises(ModelError, match="was tuned for sequence classification"):
        load_model(folder, "question_answering")


@pytest.mark.parametrize("name", ["bert", "bert-qa", "distilbert", "roberta"])
def test_build_gives_the_architecture_of_a_config(name, saved):
    """``build`` makes the class a ``config.json`` names, with the same parameters and stubs as ``load_float``."""
    folder = saved(name)
    state = torch.random.get_rng_state()
    built = build(json.loads((folder / "config.json").read_text()))
    loaded, _ = load_float(folder, "question_answering" if name == "bert-qa" else "classification")

    assert [name for name, _ in built.named_modules()] == [name for name, _ in loaded.named_modules()]
    assert {k: v.shape for k, v in built.state_dict().items()} == {k: v.shape for k, v in loaded.state_dict().items()}
    assert not built.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_build_draws_no_weights(saved, monkeypatch):
    """They would be written over: what initializes a Linear is not reached, nor is the caller's generator used."""
    config = json.loads((saved("bert") / "config.json").read_text())
    drawn = []
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *_, **__: drawn.append(tensor))
    monkeypatch.setattr(torch.nn.init, "normal_", lambda tensor, *_, **__: drawn.append(tensor))
    before = torch.random.get_rng_state()

    build(config)

    assert drawn == []
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "config",
    [
        {"class": "mine.Net"},
        {"model_type": "mine", "architectures": ["Net"]},
        {"model_type": "bert", "architectures": ["AutoConfig"]},
        {"model_type": "bert", "architectures": []},
        {"model_type": "bert", "architectures": None},
    ],
    ids=["no transformers", "other type", "no model class", "no class", "null"],
)
def test_build_leaves_other_configs_to_others(config):
    """What is not a model of transformers gives None."""
    assert build(config) is None


def lowered(model, batch):
    """Every op of the model in INT8 as the space prefers it."""
    adapter = PyTorchAdapter()
    sizes = (CalibrationSize(1, "batches"),)
    space = dataclasses.replace(adapter.describe(model, (batch, None)), calibrations=sizes)
    return adapter.lower(model, space.recipe({}), adapter.calibrate(model, [(batch, None)], space))


def test_transformers_refuses_a_tuned_folder(tmp_path):
    """It cannot read one, and is stopped before it puts random weights where INT8 codes were."""
    ids = torch.randint(5, 100, (8, 6))
    PyTorchAdapter().save(lowered(MODELS["bert"]().eval(), {"input_ids": ids}), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"]["quant_method"] == "ilit"
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_save_pretrained_keeps_the_codes(tmp_path):
    """What transformers writes of an INT8 model is all of it, and its config says that it is ilit's."""
    ids = torch.randint(5, 100, (8, 6))
    torch.manual_seed(1)
    model = lowered(MODELS["bert"]().eval(), {"input_ids": ids})
    twin = lowered(MODELS["bert"]().eval(), {"input_ids": ids})
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"] == {"quant_method": "ilit"}
    twin.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(twin(input_ids=ids).logits, model(input_ids=ids).logits)
