"""An INT8 module is a whole stand-in: state dict, hooks, attributes, copies and casts work as on the float one."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub

from ilit.errors import LoweringError
from ilit.recipe import OpConfig, QuantSpec

STATIC = OpConfig(
    "int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8", "asym", bits=8)
)
DYNAMIC = replace(STATIC, approach="dynamic")
SMOOTHED = replace(STATIC, smoothing=0.8)
PER_TOKEN = OpConfig("int8", "dynamic", STATIC.weight, QuantSpec("uint8", "sym", "per_token", "minmax", 8))
WEIGHT_ONLY = OpConfig("int8", "weight_only", STATIC.weight)
RECIPES = {"static": STATIC, "smoothed": SMOOTHED, "dynamic": DYNAMIC, "per token": PER_TOKEN}


def two_linears(seed: int) -> torch.nn.Module:
    """Return a small net with weights of its own."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))


@pytest.fixture
def int8(bench: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that lowers a model by one config for all its ops, calibrated on one input."""

    def make(model: torch.nn.Module, x: torch.Tensor, config: OpConfig = STATIC) -> Any:
        subject = bench(model, x)
        kinds = subject.calibration.structure.sites
        return subject.lower(**{op: WEIGHT_ONLY if kinds[op].kind == "embedding" else config for op in subject.ops})

    return make


# --- State dict ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_twin_takes_over_the_state(int8: Callable[..., Any], recipe: str) -> None:
    """Another model of the same recipe that loads the state dict, from a file, answers with the same bits."""
    x = torch.randn(32, 8)
    one, twin = (int8(two_linears(seed), x, RECIPES[recipe]) for seed in (1, 2))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    assert not torch.equal(twin(x), one(x))
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(twin(x), one(x))
    assert torch.equal(twin[0].weight.detach(), one[0].weight.detach())


def test_no_float_module_has_these_names(int8: Callable[..., Any]) -> None:
    """Codes, scales, zero points and biases stand under names of their own; what the float model calls them is gone."""
    model = two_linears(1)
    state = int8(model, torch.randn(32, 8)).state_dict()
    assert not set(state) & set(model.state_dict())
    own = ("weight", "weight_scale", "bias", "input_scale", "input_zero_point", "form")
    assert {f"0.int8_{name}" for name in own} <= set(state)
    assert state["0.int8_weight"].dtype == torch.int8


def test_a_float_model_refuses_the_state(int8: Callable[..., Any]) -> None:
    """By name, and the other way round."""
    model = two_linears(1)
    lowered = int8(model, torch.randn(32, 8))
    with pytest.raises(RuntimeError, match=r"0\.int8_weight"):
        two_linears(1).load_state_dict(lowered.state_dict())
    with pytest.raises(RuntimeError, match=r"0\.int8_weight"):
        lowered.load_state_dict(model.state_dict())


OTHERS = {
    "another approach": (STATIC, DYNAMIC, "int8_input_scale"),
    "other bits": (DYNAMIC, replace(DYNAMIC, activation=QuantSpec("uint8", "asym", bits=7)), "another recipe"),
    "without smoothing": (SMOOTHED, STATIC, "int8_smoothing"),
    "per token": (DYNAMIC, PER_TOKEN, "another recipe"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_recipe_refuses_the_state(int8: Callable[..., Any], name: str) -> None:
    """Whatever the two recipes have not in common is named, and nothing is taken over."""
    ours, theirs, text = OTHERS[name]
    x = torch.randn(32, 8)
    given, lowered = int8(two_linears(1), x, theirs), int8(two_linears(2), x, ours)
    before = lowered(x)
    with pytest.raises(RuntimeError, match=text):
        lowered.load_state_dict(given.state_dict())
    assert torch.equal(lowered(x), before)


def test_another_shape_is_refused(int8: Callable[..., Any]) -> None:
    """With both shapes."""
    small, large = (torch.nn.Sequential(torch.nn.Linear(8, width)) for width in (3, 4))
    x = torch.randn(32, 8)
    with pytest.raises(RuntimeError, match=r"int8_weight is torch.int8 \(3, 8\), this INT8 module has .*\(4, 8\)"):
        int8(large, x).load_state_dict(int8(small, x).state_dict())


NUMBERS: dict[str, tuple[str, Any, str]] = {
    "scale of NaN": ("int8_input_scale", float("nan"), "a scale is nan"),
    "scale of 0": ("int8_input_scale", 0.0, "a scale is 0.0"),
    "zero point": ("int8_input_zero_point", 300, "zero point 300 is not within the codes 0 to 255"),
    "weight scale": ("int8_weight_scale", float("nan"), "weight_scale holds a value"),
    "code": ("int8_weight", -128, "codes from -127"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_out_of_range_are_not_loaded(int8: Callable[..., Any], name: str) -> None:
    """As in an artefact: nothing is taken over, and the entry is named."""
    entry, value, text = NUMBERS[name]
    lowered, x = int8(two_linears(1), torch.randn(32, 8)), torch.randn(4, 8)
    before, state = lowered(x), {key: tensor.clone() for key, tensor in lowered.state_dict().items()}
    state[f"0.{entry}"].fill_(value)
    with pytest.raises(RuntimeError, match=text):
        lowered.load_state_dict(state)
    assert torch.equal(lowered(x), before)


def test_codes_that_saturate_here_are_not_loaded(int8: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A state of 8-bit codes on both sides, of a CPU that sums exactly, is refused by one that does not."""
    lowered = int8(two_linears(1), torch.randn(32, 8))
    state = {key: tensor.clone() for key, tensor in lowered.state_dict().items()}
    state["0.int8_weight"].fill_(127)
    monkeypatch.setattr("ilit_pytorch.engine.cpu.int8_class", lambda: "A")
    with pytest.raises(RuntimeError, match="saturate in silence on this CPU"):
        lowered.load_state_dict(state)


WRONG: dict[str, Callable[[torch.Tensor], Any]] = {
    "cast": lambda tensor: tensor.float() if tensor.dtype != torch.float32 else tensor.double(),
    "a number": lambda _tensor: 1.0,
    "nothing": lambda _tensor: None,
    "without values": lambda tensor: tensor.to("meta"),
}


@pytest.mark.parametrize("name", WRONG)
def test_entries_of_another_kind_are_refused(int8: Callable[..., Any], name: str) -> None:
    """By name, in torch's one error."""
    lowered = int8(two_linears(1), torch.randn(32, 8))
    state = {key: WRONG[name](tensor) for key, tensor in lowered.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"0: int8_\w+ is .*, this INT8 module has"):
        lowered.load_state_dict(state)


def test_what_is_written_into_a_state_dict_stays_there(int8: Callable[..., Any], bench: Callable[..., Any]) -> None:
    """No other model lowered from the same calibration sees it, be it that the two share their smoothing."""
    subject = bench(two_linears(1), torch.randn(32, 8))
    one, other = (subject.lower(**dict.fromkeys(subject.ops, SMOOTHED)) for _ in range(2))
    before = subject.run(other)
    for tensor in one.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(1.0)
    assert subject.run(other).tobytes() == before.tobytes()
    again = subject.lower(**dict.fromkeys(subject.ops, SMOOTHED))
    assert subject.run(again).tobytes() == before.tobytes()


@pytest.mark.parametrize("norm", [torch.nn.BatchNorm2d(4), torch.nn.GroupNorm(2, 4)], ids=["batch", "group"])
def test_assigned_tensors_reach_what_is_made_of_them(bench: Callable[..., Any], norm: torch.nn.Module) -> None:
    """Between stubs torch's quantized forms follow the tensors that ``assign=True`` puts into the float ones."""
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        own = copy.deepcopy(norm)
        torch.nn.init.normal_(own.weight)
        net = torch.nn.Sequential(TorchQuantStub(), torch.nn.Conv2d(1, 4, 3), own, DeQuantStub())
        subject = bench(net, torch.randn(8, 1, 6, 6))
        models.append(subject.lower(static=["1"]))
    models[1].load_state_dict(models[0].state_dict(), assign=True)
    assert subject.run(models[1]).tobytes() == subject.run(models[0]).tobytes()


def test_a_loaded_state_is_a_copy(int8: Callable[..., Any]) -> None:
    """Writing to the state dict afterwards changes no model."""
    x = torch.randn(32, 8)
    one, twin = int8(two_linears(1), x), int8(two_linears(2), x)
    state = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    twin.load_state_dict(state)
    for tensor in state.values():
        tensor.zero_()
    assert torch.equal(twin(x), one(x))


@pytest.mark.parametrize("name", ["conv", "transposed", "stubbed-conv", "shared-stub", "tied-embedding"])
@pytest.mark.parametrize("float_op", [True, False], ids=["one op in float", "all in INT8"])
def test_every_kind_of_module_has_a_state(
    bench: Callable[..., Any], sample: Callable[[str], Any], name: str, float_op: bool
) -> None:
    """Convolutions, embeddings, stubs and what lies between them: a twin of the same recipe gives the same bits."""
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        one = sample(name)
        subject = bench(one.model, one.batches[0][0])
        embeddings = {op: WEIGHT_ONLY for op in subject.ops if op == "embed"}
        ops = [op for op in subject.ops if op not in embeddings]
        models.append(subject.lower(static=ops[int(float_op) :], **embeddings))
    assert all(type(value) is torch.Tensor and not value.is_quantized for value in models[0].state_dict().values())
    models[1].load_state_dict(models[0].state_dict())
    # Buffers that state_dict leaves out are not exchanged by it, in float neither.
    for (_, ours), (_, theirs) in zip(models[1].named_buffers(), models[0].named_buffers(), strict=True):
        ours.copy_(theirs)
    found, wanted = (subject.adapter.outputs(model, one.batches[0]) for model in reversed(models))
    assert found.tobytes() == wanted.tobytes()


# --- What hung on the float module ---------------------------------------------------------------------------------


def test_hooks_run(int8: Callable[..., Any]) -> None:
    """Forward hooks and pre-hooks, those given keywords too, do to an INT8 op what they did to the float one."""
    model = two_linears(1)
    model[0].register_forward_pre_hook(lambda _module, args: (args[0] * 0.5,))
    model[2].register_forward_hook(lambda _module, _args, _kwargs, output: output / 4, with_kwargs=True)
    x = torch.randn(64, 8)
    wanted, found = model.eval()(x).detach(), int8(model, x)(x)
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_a_hook_finds_what_it_uses(int8: Callable[..., Any]) -> None:
    """Attributes, buffers and submodules that hang on an op are there, and the hook's own module is the INT8 one."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    op = model[0]
    op.gain = 2.0
    op.register_buffer("offset", torch.ones(8))
    op.adapter = torch.nn.Linear(8, 8)
    op.register_forward_hook(
        lambda module, args, output: output * module.gain + module.offset + module.adapter(args[0])
    )
    x = torch.randn(64, 8)
    wanted, lowered = model(x).detach(), int8(model, x)
    assert "0.adapter.weight" in lowered.state_dict()
    assert (lowered(x) - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_a_bound_hook_belongs_to_the_copy(int8: Callable[..., Any]) -> None:
    """A method of one module hung on another one works on the lowered model's, not on the user's."""

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.calls = torch.nn.Linear(8, 3), 0
            self.fc.register_forward_hook(self.count)

        def count(self, _module: Any, _args: Any, _output: Any) -> None:
            self.calls += 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    model = Counting()
    lowered = int8(model, torch.randn(8, 8))
    lowered(torch.randn(8, 8))
    assert (model.calls, lowered.calls) == (0, 1)


def test_it_has_the_attributes_of_form(int8: Callable[..., Any]) -> None:
    """What code reads from a layer before it calls it is there: geometry, sizes, whether there is a bias."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False), torch.nn.Flatten(), torch.nn.Linear(32, 5)
    )
    lowered = int8(model, torch.randn(16, 4, 4, 4))
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    assert [getattr(lowered[0], name) for name in names] == [getattr(model[0], name) for name in names]
    assert (lowered[2].in_features, lowered[2].out_features) == (32, 5)
    assert lowered[0].bias is None
    assert torch.is_tensor(lowered[2].bias)
    assert not any(parameter.requires_grad for parameter in lowered.parameters())
    assert next(lowered.parameters()).device.type == "cpu"


# --- Copies, casts, threads ----------------------------------------------------------------------------------------

READ = """
import sys, torch
models, x, wanted = torch.load(sys.argv[1], weights_only=False)
print(all(torch.equal(model(x), wanted) for model in models))
"""


def test_pickles_open_in_another_process(int8: Callable[..., Any], tmp_path: Path) -> None:
    """One that has imported nothing of ilit; a deep copy's pickle as well."""
    model = torch.nn.Sequential(
        torch.nn.Embedding(12, 8), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    x = torch.randint(0, 12, (16, 5))
    lowered = int8(model, x, SMOOTHED)
    torch.save(([lowered, copy.deepcopy(lowered)], x, lowered(x)), tmp_path / "models.pt")
    done = subprocess.run(  # noqa: S603 - this Python, our own text
        [sys.executable, "-W", "error", "-c", READ, str(tmp_path / "models.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_a_copy_keeps_what_hangs_on_it(int8: Callable[..., Any]) -> None:
    """Hooks, attributes and the mode of a deep copy and of a pickle are those of the original."""
    lowered = int8(two_linears(1), torch.randn(8, 8))
    lowered[0].register_forward_hook(_halve)
    lowered[0].note = "hung on the INT8 module"
    lowered.train()
    x = torch.randn(4, 8)
    for copied in (copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):  # noqa: S301 - bytes made here
        assert torch.equal(copied(x), lowered(x))
        assert (copied[0].note, copied[0].training) == ("hung on the INT8 module", True)


def _halve(_module: torch.nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
    return output / 2


def test_copies_are_their_own(int8: Callable[..., Any]) -> None:
    """Writing to a copy's scales and biases leaves the original as it was."""
    lowered, x = int8(two_linears(1), torch.randn(8, 8)), torch.randn(4, 8)
    before, copied = lowered(x), copy.deepcopy(lowered)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(lowered(x), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_cast_model_answers_in_its_dtype(int8: Callable[..., Any], dtype: torch.dtype) -> None:
    """``model.bfloat16()`` changes what is float; INT8 ops compute as before and answer in the dtype they are given."""
    model = torch.nn.Sequential(torch.nn.Embedding(12, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3))
    x = torch.randint(0, 12, (16, 5))
    lowered = int8(model, x)
    wanted = lowered(x)
    cast = lowered.to(dtype)
    assert cast(x).dtype == dtype
    assert (cast(x).float() - wanted).abs().max() < 0.02 * wanted.abs().max()
    assert (cast[2].weight.dtype, cast[2].weight_scale.dtype) == (dtype, torch.float32)


def test_a_failing_cast_leaves_it_whole(int8: Callable[..., Any]) -> None:
    """What a function raises that was to be applied to all tensors takes no scale away."""
    lowered, x = int8(two_linears(1), torch.randn(8, 8)), torch.randn(4, 8)
    lowered[0].register_buffer("hung", torch.ones(2))
    wanted = lowered(x)

    def fails(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() == 2:
            raise RuntimeError("not this one")
        return tensor

    with pytest.raises(RuntimeError, match="not this one"):
        lowered._apply(fails)
    assert torch.equal(lowered(x), wanted)


def test_another_device_is_refused(int8: Callable[..., Any]) -> None:
    """In one line."""
    lowered = int8(two_linears(1), torch.randn(8, 8))
    with pytest.raises(LoweringError, match="runs on the CPU only, not on 'meta'"):
        lowered.to("meta")


def test_threads_share_a_model(int8: Callable[..., Any]) -> None:
    """Nine threads that call one model at once all get the answer that one gets."""
    lowered, x = int8(two_linears(1), torch.randn(32, 8), PER_TOKEN), torch.randn(32, 8)
    wanted, right = lowered(x), []

    def run() -> None:
        with torch.no_grad():
            right.extend(torch.equal(lowered(x), wanted) for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 180


@pytest.mark.parametrize("recipe", ["static", "smoothed", "per token"])
def test_it_is_exported(int8: Callable[..., Any], recipe: str) -> None:
    """``torch.export`` gives a program with the same bits."""
    lowered, x = int8(two_linears(1), torch.randn(32, 8), RECIPES[recipe]), torch.randn(4, 8)
    assert torch.equal(torch.export.export(lowered, (x,)).module()(x), lowered(x))


def test_it_is_exported_for_any_number_of_rows(int8: Callable[..., Any]) -> None:
    """Large batches included, which are quantized block by block otherwise."""
    lowered = int8(two_linears(1), torch.randn(32, 8), SMOOTHED)
    program = torch.export.export(lowered, (torch.randn(4, 8),), dynamic_shapes=({0: torch.export.Dim("rows", min=2)},))
    for rows in (2, 7, 200_000):
        x = torch.randn(rows, 8)
        assert torch.equal(program.module()(x), lowered(x))


def test_what_cannot_be_exported_is_refused(int8: Callable[..., Any]) -> None:
    """A scale found in the values at hand is no part of a graph; the cure is named."""
    lowered, x = int8(two_linears(1), torch.randn(32, 8), DYNAMIC), torch.randn(4, 8)
    with pytest.raises(LoweringError, match=r"torch\.export: .*; export a model with static or per-token ops"):
        torch.export.export(lowered, (x,))
