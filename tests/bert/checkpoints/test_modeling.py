"""Promises of ``ilit_bert.checkpoints.modeling``: stubs in the right number, outputs unchanged to the last bit."""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import transformers

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize
from ilit_bert.checkpoints.modeling import prepare
from ilit_pytorch import PyTorchAdapter, QuantStub
from ilit_pytorch.engine import kernels

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


# --- In INT8 ---------------------------------------------------------------------------------------------------------

STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8", "asym"))
SEVEN = replace(
    STATIC, weight=replace(STATIC.weight, bits=8), activation=QuantSpec("uint8", "asym", bits=7)
)  # on either class of CPU
SMOOTHED = replace(STATIC, smoothing=1.0)
FUSED = {"linear_codes": LAYERS, "linear_add": 2 * LAYERS}
IN_FLOAT = {"gelu": LAYERS, "linear_add": 2 * LAYERS}


@dataclass(frozen=True)
class Calibrated:
    """A prepared BERT that recipes may lower."""

    model: torch.nn.Module
    adapter: PyTorchAdapter
    calibration: Any

    def lower(self, config: OpConfig, floats: str = " ") -> Any:
        """Return the model with all Linears by one config, those whose path holds ``floats`` in float."""
        sites = self.calibration.structure.sites
        int8 = [name for name, site in sites.items() if site.kind == "linear" and floats not in name]
        return self.adapter.lower(
            self.model, Recipe({**dict.fromkeys(sites, FLOAT32), **dict.fromkeys(int8, config)}, "1 batches"),
            self.calibration,
        )  # fmt: skip


@pytest.fixture
def calibrated() -> Callable[..., Calibrated]:
    """Return a function that prepares and calibrates a small BERT."""

    def make(**options: Any) -> Calibrated:
        model, adapter, batch = prepare(tiny_bert(**options)), PyTorchAdapter(), [(padded_batch(), None)]
        space = replace(adapter.describe(model, batch[0]), calibrations=(CalibrationSize(1, "batches"),))
        return Calibrated(model, adapter, adapter.calibrate(model, batch, space))

    return make


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return the calls of kernels that do more than a Linear, counted as they are made."""
    count: Counter[str] = Counter()

    def counted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            key = args[4] if name == "linear" and len(args) > 4 else name
            count.update([key] if key not in ("linear", "none") else [])
            return plain(*args)

        return call

    for name in ("linear", "linear_codes", "linear_add"):
        monkeypatch.setattr(kernels, name, counted(name, getattr(kernels, name)))
    return count


def in_plain_calls(model: torch.nn.Module, **options: Any) -> dict[str, torch.Tensor]:
    """Return a model's outputs with a hook on all modules, which no fused call passes by."""
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        return tensors(model(**padded_batch(), **options))
    finally:
        handle.remove()


def close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], atol: float) -> bool:
    """Whether outputs of the same names are equal to float rounding and ``atol``."""
    assert found.keys() == wanted.keys()
    return all(torch.allclose(found[name], wanted[name], rtol=1e-5, atol=atol) for name in wanted)


@pytest.mark.parametrize("config", [STATIC, SEVEN], ids=["8-bit codes", "7-bit codes"])
@torch.no_grad()
def test_a_static_layer_is_seven_kernels(
    calibrated: Callable[..., Calibrated], called: Counter[str], config: OpConfig
) -> None:
    """Query, key, value, and three with what follows in them; the values are those of the plain calls."""
    lowered = calibrated().lower(config)
    found = tensors(lowered(**padded_batch(), output_hidden_states=True))
    assert called == FUSED
    called.clear()
    wanted = in_plain_calls(lowered, output_hidden_states=True)
    assert not called
    assert close(found, wanted, atol=0.05)  # a code that lies between two may be one apart


@torch.no_grad()
def test_a_smoothed_layer_has_gelu_in_the_kernel(calibrated: Callable[..., Calibrated], called: Counter[str]) -> None:
    """And gives the plain calls' values to float rounding."""
    lowered = calibrated().lower(SMOOTHED)
    found = tensors(lowered(**padded_batch()))
    assert called == IN_FLOAT
    assert close(found, in_plain_calls(lowered), atol=1e-5)


ADDS = {"linear_add": 2 * LAYERS}
ACTS = {"gelu": FUSED, "relu": FUSED, "gelu_new": ADDS, "gelu_pytorch_tanh": ADDS, "gelu_python": ADDS, "silu": ADDS}


@pytest.mark.parametrize("act", ACTS)
@torch.no_grad()
def test_other_activation_functions_are_called(
    calibrated: Callable[..., Calibrated], called: Counter[str], act: str
) -> None:
    """Only the exact GELU and ReLU are in the kernel."""
    lowered = calibrated(hidden_act=act).lower(STATIC)
    found = tensors(lowered(**padded_batch()))
    assert called == ACTS[act]
    assert close(found, in_plain_calls(lowered), atol=0.05 if called == FUSED else 1e-5)


@torch.no_grad()
def test_feed_forward_in_chunks(calibrated: Callable[..., Calibrated], called: Counter[str]) -> None:
    """A residual that is a part of a tensor is added after the kernel."""
    lowered = calibrated(chunk_size_feed_forward=4).lower(STATIC)
    assert close(tensors(lowered(**padded_batch())), in_plain_calls(lowered), atol=0.05)


@pytest.mark.parametrize(
    ("floats", "left"),
    [
        ("intermediate.dense", {"linear_add": 2 * LAYERS}),
        (".output.dense", {"gelu": LAYERS}),
        ("layer.0.output.dense", {"linear_codes": LAYERS - 1, "gelu": 1, "linear_add": 2 * LAYERS - 1}),
        ("query", FUSED),
    ],
)
@torch.no_grad()
def test_any_op_may_stay_in_float(
    calibrated: Callable[..., Calibrated], called: Counter[str], floats: str, left: dict[str, int]
) -> None:
    """What is beside it is fused as far as it goes."""
    lowered = calibrated().lower(STATIC, floats)
    found = tensors(lowered(**padded_batch()))
    assert called == left
    assert close(found, in_plain_calls(lowered), atol=0.05)


@pytest.mark.parametrize("block", ["intermediate", "output", "output.stub", "intermediate.intermediate_act_fn"])
@torch.no_grad()
def test_a_hook_within_the_feed_forward_sees_floats(
    calibrated: Callable[..., Calibrated], called: Counter[str], block: str
) -> None:
    """As it did before layers were lowered, and its layer alone runs the plain calls that this takes."""
    lowered, seen = calibrated().lower(STATIC), []
    layer = lowered.bert.encoder.layer[0]
    layer.get_submodule(block).register_forward_hook(lambda _module, args, _output: seen.append(args[0]))
    lowered(**padded_batch())
    assert len(seen) == 1
    assert seen[0].dtype == torch.float32
    assert called["linear_codes"] == LAYERS - 1


@torch.no_grad()
def test_a_block_put_in_place_of_one_is_called(calibrated: Callable[..., Calibrated], called: Counter[str]) -> None:
    """Somebody's own output block, say, with an adapter in it."""
    lowered, calls = calibrated().lower(STATIC), []

    class Own(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return self.inner(*given)

    wanted = in_plain_calls(lowered)
    lowered.bert.encoder.layer[1].output = Own(lowered.bert.encoder.layer[1].output)
    assert close(tensors(lowered(**padded_batch())), wanted, atol=0.05)
    assert calls == [1]


@torch.no_grad()
def test_an_artefact_answers_with_the_same_bits(
    calibrated: Callable[..., Calibrated], called: Counter[str], tmp_path
) -> None:
    """Loaded into a freshly prepared model, by the same kernels."""
    subject = calibrated()
    lowered = subject.lower(STATIC)
    wanted = lowered(**padded_batch()).logits
    subject.adapter.save(lowered, tmp_path)
    called.clear()
    loaded = subject.adapter.load(tmp_path, model=prepare(tiny_bert()))
    assert torch.equal(loaded(**padded_batch()).logits, wanted)
    assert called == FUSED


# --- The first token alone -------------------------------------------------------------------------------------------


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the tokens a row of the activations that residuals are added to, two a layer, as it is added."""
    found: list[int] = []
    plain = kernels.linear_add

    def noted(*args: Any) -> torch.Tensor:
        found.append(args[-1].shape[1])
        return plain(*args)

    monkeypatch.setattr(kernels, "linear_add", noted)
    return found


WHOLE, LEFT_OUT = [12, 12, 12, 12], [12, 12, 1, 1]


@pytest.mark.parametrize("config", [STATIC, SEVEN, SMOOTHED], ids=["8-bit", "7-bit", "smoothed"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_the_last_layer_of_a_classifier_runs_for_the_first_token(
    calibrated: Callable[..., Calibrated], lengths: list[int], config: OpConfig, attention: str
) -> None:
    """Logits and loss are those of all tokens to float rounding, on padded rows."""
    lowered, labels = calibrated(attention=attention).lower(config), torch.tensor([0, 1, 1])
    found = tensors(lowered(**padded_batch(), labels=labels))
    assert lengths == LEFT_OUT
    lengths.clear()
    wanted = tensors(lowered.forward(**padded_batch(), labels=labels))  # past the hook that asks
    assert lengths == WHOLE
    assert close(found, wanted, atol=1e-3)


@torch.no_grad()
def test_more_than_logits_is_whole_when_asked_for(calibrated: Callable[..., Calibrated], lengths: list[int]) -> None:
    """Hidden states, attentions, and the encoder called by itself."""
    lowered = calibrated(attention="eager").lower(STATIC)
    for model, options in (
        (lowered.bert, {}),
        (lowered.base_model, {"return_dict": False}),
        (lowered, {"output_hidden_states": True}),
        (lowered, {"output_attentions": True}),
    ):
        lengths.clear()
        model(**padded_batch(), **options)
        assert lengths == WHOLE
    states = lowered(**padded_batch(), output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in states] == [(3, 12, 32)] * (LAYERS + 1)
    assert torch.equal(states[-1], lowered.bert(**padded_batch()).last_hidden_state)


def _config(name: str) -> Callable[[Any], Any]:
    return lambda model: setattr(model.config, name, True)


def _hooked(path: str) -> Callable[[Any], Any]:
    return lambda model: model.get_submodule(path).register_forward_hook(lambda *_: None)


class Reader(transformers.BertForSequenceClassification):
    """A class whose forward might read anything."""


LAST = f"bert.encoder.layer.{LAYERS - 1}"
READ = {
    "config.output_hidden_states": _config("output_hidden_states"),
    "config.output_attentions": _config("output_attentions"),
    **{
        f"hook on {path}": _hooked(path)
        for path in ("bert", "bert.encoder", "bert.pooler", LAST, f"{LAST}.attention", f"{LAST}.attention.self.key")
    },
    "training within": lambda model: model.get_submodule(LAST).attention.self.train(),
    "a class of one's own": lambda model: setattr(model, "__class__", Reader),
    "a forward of one's own": lambda model: setattr(model, "forward", model.forward),
    "a layer used twice": lambda model: model.bert.encoder.layer.__setitem__(0, model.bert.encoder.layer[1]),
    "an activation over tokens": lambda model: setattr(
        model.get_submodule(LAST).intermediate, "intermediate_act_fn", torch.nn.Softmax(dim=1)
    ),
    "a norm of one's own": lambda model: setattr(model.get_submodule(LAST).output, "LayerNorm", torch.nn.Identity()),
    "another dense": lambda model: setattr(
        model.get_submodule(LAST).output, "dense", torch.nn.Sequential(model.get_submodule(LAST).output.dense)
    ),
}


@pytest.mark.parametrize("way", READ)
@torch.no_grad()
def test_where_tokens_may_be_read_none_is_left_out(
    calibrated: Callable[..., Calibrated], lengths: list[int], way: str
) -> None:
    """By hooks, by another forward, by a block that mixes them."""
    lowered = calibrated(attention="eager").lower(STATIC)
    READ[way](lowered)
    lowered(**padded_batch())
    assert set(lengths) == {12}


@torch.no_grad()
def test_a_scale_for_all_tokens_takes_all_of_them(calibrated: Callable[..., Calibrated]) -> None:
    """A dynamic op's codes depend on the widest token, so its recipe answers with the same bits as before."""
    lowered = calibrated().lower(replace(STATIC, approach="dynamic"))
    assert torch.equal(lowered(**padded_batch()).logits, lowered.forward(**padded_batch()).logits)


@torch.no_grad()
def test_removed_layers_make_another_one_the_last(calibrated: Callable[..., Calibrated], lengths: list[int]) -> None:
    """The last is found at each call."""
    lowered = calibrated().lower(STATIC)
    lowered.bert.encoder.layer = lowered.bert.encoder.layer[:1]
    found = lowered(**padded_batch()).logits
    assert lengths == [1, 1]
    torch.testing.assert_close(found, lowered.forward(**padded_batch()).logits, rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_heads_that_read_every_token_get_them(calibrated: Callable[..., Calibrated], lengths: list[int]) -> None:
    """Question answering, for one."""
    lowered = calibrated(head="question-answering").lower(STATIC)
    lowered(**padded_batch())
    assert lengths == WHOLE


@torch.no_grad()
def test_positions_copies_and_a_second_prepare(calibrated: Callable[..., Calibrated], lengths: list[int]) -> None:
    """Arguments by position, deep copies and pickles are alike; preparing again asks once."""
    lowered, batch = calibrated().lower(STATIC), padded_batch()
    wanted = lowered(**batch).logits
    assert len(prepare(prepare(tiny_bert()))._forward_pre_hooks) == 1
    for again in (lowered, copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):  # noqa: S301 - our own
        lengths.clear()
        assert torch.equal(again(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]).logits, wanted)
        assert lengths == LEFT_OUT


@torch.no_grad()
def test_an_exported_classifier_has_the_bits_of_plain_calls(calibrated: Callable[..., Calibrated]) -> None:
    """A graph has every token, and no fused kernel."""
    lowered, batch = calibrated().lower(STATIC), padded_batch()
    program = torch.export.export(lowered, (), batch)
    assert torch.equal(program.module()(**batch).logits, in_plain_calls(lowered)["logits.0"])
