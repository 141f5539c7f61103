"""Promises of ``ilit_bert.checkpoints.modeling``: stubs in the right number, outputs unchanged to the last bit."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import transformers

from ilit_bert.checkpoints.modeling import prepare
from ilit_pytorch import QuantStub

LAYERS = 2
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
HEADS = {
    "classification": transformers.BertForSequenceClassification,
    "question-answering": transformers.BertForQuestionAnswering,
}


def tiny_bert(head: str = "classification", attention: str = "sdpa", **options: object) -> torch.nn.Module:
    """Return a small BERT with random weights, in eval mode."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, **options, attn_implementation=attention)
    return HEADS[head](config).eval()


def padded_batch() -> dict[str, torch.Tensor]:
    """Return three rows of lengths 12, 7 and 1."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([12, 7, 1])
    mask = (torch.arange(12)[None] < lengths[:, None]).long()
    ids = torch.randint(1, 50, (3, 12), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (torch.arange(12) > 5).long() * mask}


def tensors(output: transformers.utils.ModelOutput) -> dict[str, torch.Tensor]:
    """Return every tensor of an output, the attentions and hidden states flattened."""
    flat = {}
    for name, value in output.items():
        parts = value if isinstance(value, tuple) else (value,)
        flat |= {f"{name}.{i}": part for i, part in enumerate(parts)}
    return flat


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@torch.no_grad()
def test_float_outputs_are_bit_equal(head: str, attention: str, training: bool) -> None:
    """Preparing changes no bit of the outputs, on padded rows and, seeded alike, with dropout on."""
    model = tiny_bert(head, attention).train(training)
    prepared = prepare(model)

    torch.manual_seed(3)
    expected = tensors(model(**padded_batch(), output_hidden_states=True))
    torch.manual_seed(3)
    actual = tensors(prepared(**padded_batch(), output_hidden_states=True))

    assert prepared.training is training
    assert expected.keys() == actual.keys()
    assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []


@torch.no_grad()
def test_attentions_are_still_recorded() -> None:
    """``output_attentions`` finds the prepared attention, which is a subclass of transformers' own."""
    model = tiny_bert(attention="eager")

    expected = model(**padded_batch(), output_attentions=True).attentions
    actual = prepare(model)(**padded_batch(), output_attentions=True).attentions

    assert len(actual) == LAYERS
    assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))


def test_gradients_are_bit_equal() -> None:
    """A prepared model trains as the original does."""
    model = tiny_bert()
    labels = torch.tensor([0, 1, 1])

    gradients = []
    for candidate in (model, prepare(model)):
        candidate.zero_grad()
        candidate(**padded_batch(), labels=labels).loss.backward()
        gradients.append([p.grad.clone() for p in candidate.parameters() if p.grad is not None])

    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(("head", "beside_layers"), [("classification", 1), ("question-answering", 0)])
def test_four_stubs_a_layer(head: str, beside_layers: int) -> None:
    """A layer quantizes 4 activations, query, key and value sharing one; the pooler has the one beside."""
    prepared = prepare(tiny_bert(head))
    stubs = [name for name, module in prepared.named_modules() if isinstance(module, QuantStub)]

    layer = [name for name in stubs if name.startswith("bert.encoder.layer.0.")]
    assert [name.removeprefix("bert.encoder.layer.0.") for name in layer] == [
        "attention.self.stub",
        "attention.output.stub",
        "intermediate.stub",
        "output.stub",
    ]
    assert len(stubs) == 4 * LAYERS + beside_layers


def test_stub_output_goes_to_linears_only() -> None:
    """Nothing but a Linear touches what a stub gives, so that lowering may put codes in its place."""

    class Codes:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

    class Source(torch.nn.Module):
        def forward(self, activation: torch.Tensor) -> Codes:
            return Codes(activation)

    class Reader(torch.nn.Module):
        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, activation: Codes | torch.Tensor) -> torch.Tensor:
            return self.linear(activation.tensor if isinstance(activation, Codes) else activation)

    model = tiny_bert()
    lowered = prepare(model)
    for name, module in list(lowered.named_modules()):
        if isinstance(module, (QuantStub, torch.nn.Linear)):
            new = Source() if isinstance(module, QuantStub) else Reader(module)
            lowered.set_submodule(name, new)

    with torch.no_grad():
        assert torch.equal(lowered(**padded_batch()).logits, model(**padded_batch()).logits)


def test_given_model_is_untouched_and_weights_are_shared() -> None:
    """``prepare`` returns a new structure over the same tensors."""
    model = tiny_bert()
    names = [name for name, _ in model.named_modules()]
    prepared = prepare(model)

    assert [name for name, _ in model.named_modules()] == names
    assert prepared.config is not model.config
    assert list(prepared.state_dict()) == list(model.state_dict())
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(model.parameters(), prepared.parameters(), strict=True))


def test_saved_folder_names_the_original_class(tmp_path) -> None:
    """A prepared model saves as plain BERT and any transformers reads it back."""
    prepared = prepare(tiny_bert())
    prepared.save_pretrained(tmp_path)

    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(again) is transformers.BertForSequenceClassification
    with torch.no_grad():
        assert torch.equal(again(**padded_batch()).logits, prepared(**padded_batch()).logits)


def test_preparing_twice_and_copying_are_harmless() -> None:
    """A second ``prepare`` adds no stub, and a deep copy is a prepared model."""
    prepared = copy.deepcopy(prepare(prepare(tiny_bert())))

    assert sum(isinstance(module, QuantStub) for module in prepared.modules()) == 4 * LAYERS + 1


OTHERS = {
    "distilbert": lambda: transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=4, hidden_dim=48)
    ),
    "roberta": lambda: transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**SIZES)),
    "bert-decoder": lambda: transformers.BertLMHeadModel(transformers.BertConfig(**SIZES, is_decoder=True)),
    "plain-torch": lambda: torch.nn.Linear(2, 2),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_models_are_returned_as_they_are(kind: str) -> None:
    """What is no BERT encoder goes through the unprepared path."""
    model = OTHERS[kind]()

    assert prepare(model) is model
