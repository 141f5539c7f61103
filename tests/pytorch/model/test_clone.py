"""Structural clones answer as the model does, share among themselves what it shares, and leave it alone."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations

from ilit.errors import ModelError
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.model.clone import structural_clone


def test_parameters_are_shared_and_buffers_copied() -> None:
    """A forward that writes its buffers, config or mode writes the clone's."""

    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.config = torch.nn.Linear(2, 2), {"calls": 0}
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.config["calls"] += 1
            return self.fc(x)

    model = Counts().train()
    clone = structural_clone(model)
    clone(torch.ones(1, 2))
    assert torch._C._is_cow_tensor(clone.fc.weight)  # the same memory, until one of the two is written to
    assert (float(model.calls), model.config["calls"], float(clone.calls)) == (0.0, 0, 1.0)
    assert (model.training, clone.training) == (True, False)


def test_a_clone_is_in_eval_mode_however_the_model_says_so() -> None:
    """Each module is, and one whose ``eval`` does something of its own has done it."""

    class Fuses(torch.nn.Linear):
        fused = False

        def train(self, mode: bool = True) -> Fuses:
            self.fused = not mode
            return super().train(mode)

    plain = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Linear(2, 2))).train()
    own = torch.nn.Sequential(torch.nn.Dropout(), Fuses(2, 2)).train()
    assert not any(module.training for model in (plain, own) for module in structural_clone(model).modules())
    assert structural_clone(own)[1].fused
    assert all(module.training for model in (plain, own) for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")  # the old form is what is tried
@pytest.mark.parametrize(
    "norm",
    [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm, parametrizations.weight_norm],
    ids=["old weight norm", "old spectral norm", "parametrized"],
)
def test_computed_weights_are_those_of_now(bench: Callable[..., Any], norm: Callable[..., Any]) -> None:
    """A weight that torch computes before each forward is quantized as it is after the last training step."""
    model = torch.nn.Sequential(norm(torch.nn.Linear(8, 8))).eval()
    model(torch.randn(4, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    subject = bench(model, torch.randn(16, 8))
    assert subject.close(subject.lower(static=["0"]), 0.05)


def test_what_cannot_be_copied_is_named() -> None:
    """A lock in the model is refused in one line with the cure."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.lock = threading.Lock()  # type: ignore[assignment]  # what users do
    with pytest.raises(ModelError, match=r"Sequential cannot be copied .*keep what is not tensors"):
        structural_clone(model)


def test_a_clone_answers_as_the_model() -> None:
    """Bit for bit."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).eval()
    x = torch.randn(3, 4)
    with torch.no_grad():
        assert np.array_equal(structural_clone(model)(x).numpy(), model(x).numpy())


# --- What is shared stays shared -----------------------------------------------------------------------------------


class Passing(torch.nn.Module):
    """Hands something on to the next block through an object that both hold."""

    def __init__(self, shared: Any, put: Callable[[Any, Any], Any], take: Callable[[Any], Any], first: bool) -> None:
        super().__init__()
        self.shared, self.put, self.take, self.first = shared, put, take, first
        self.fc = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.first:
            self.put(self.shared, self.fc(x))
            return x
        return self.fc(x) + self.take(self.shared)


class Holder:
    """A plain object."""

    value: Any = None


SHARED: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "dict": (dict, lambda s, v: s.update(skip=v), lambda s: s["skip"]),
    "filled dict": (lambda: {"a": 1}, lambda s, v: s.update(skip=v), lambda s: s["skip"]),
    "list": (list, lambda s, v: s.append(v), lambda s: s[-1]),
    "ordered dict": (OrderedDict, lambda s, v: s.update(skip=v), lambda s: s["skip"]),
    "object": (Holder, lambda s, v: setattr(s, "value", v), lambda s: s.value),
    "nested": (lambda: {"a": []}, lambda s, v: s["a"].append(v), lambda s: s["a"][-1]),
    "default dict": (lambda: defaultdict(list), lambda s, v: s["a"].append(v), lambda s: s["a"][-1]),
}


@pytest.mark.parametrize("kind", SHARED)
def test_what_two_modules_share_their_clones_share(kind: str) -> None:
    """Of any kind, empty or not; and the model's own is not written by the clone."""
    make, put, take = SHARED[kind]
    shared = make()
    model = torch.nn.Sequential(Passing(shared, put, take, True), Passing(shared, put, take, False)).eval()
    x = torch.randn(3, 4)
    clone = structural_clone(model)
    with torch.no_grad():
        found = clone(x)
        assert str(vars(shared) if kind == "object" else shared) == str(vars(make()) if kind == "object" else make())
        assert torch.equal(found, model(x))
    assert clone[0].shared is clone[1].shared is not shared


def test_a_buffer_two_modules_share_is_one_buffer() -> None:
    """What one writes the other reads."""
    model = torch.nn.ModuleList([torch.nn.Module(), torch.nn.Module()])
    buffer = torch.zeros(2)
    for module in model:
        module.register_buffer("both", buffer)
    clone = structural_clone(model)
    assert clone[0].both is clone[1].both is not buffer


# --- What is done to a clone is done to it alone -------------------------------------------------------------------

WRITES: dict[str, Callable[[torch.nn.Module], Any]] = {
    "cast": lambda model: model.bfloat16(),
    "frozen": lambda model: model.requires_grad_(False),
    "data": lambda model: [parameter.data.add_(1.0) for parameter in model.parameters()],
    "in place": lambda model: [parameter.detach().mul_(2.0) for parameter in model.parameters()],
    "another tensor": lambda model: [
        setattr(parameter, "data", parameter.data[:1]) for parameter in model.parameters()
    ],
    "buffers": lambda model: [buffer.add_(1) for buffer in model.buffers()],
}
MEMORY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "torch's": lambda tensor: tensor.clone(),
    "numpy's": lambda tensor: torch.from_numpy(tensor.numpy().copy()),
    "shared": lambda tensor: tensor.clone().share_memory_(),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("memory", MEMORY)
def test_a_clone_of_its_own_is_written_alone(write: str, memory: str) -> None:
    """Whosever memory the parameters are in, their values, dtype and ``requires_grad`` stay."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    for module in model:
        for name, parameter in list(module.named_parameters()):
            setattr(module, name, torch.nn.Parameter(MEMORY[memory](parameter.detach())))
    before = {
        name: (tensor.clone(), tensor.requires_grad)
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    WRITES[write](structural_clone(model, own=True))
    after = {
        name: (tensor, tensor.requires_grad) for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    for name, (tensor, grad) in after.items():
        assert tensor.dtype == before[name][0].dtype
        assert torch.equal(tensor, before[name][0])
        assert grad == before[name][1]


def test_two_lowered_models_share_nothing_that_is_written(bench: Callable[..., Any]) -> None:
    """What an evaluation does to one trial's model, the next trial's does not see."""
    subject = bench(
        torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)), torch.randn(16, 8)
    )
    one, other = subject.lower(static=["0"]), subject.lower(static=["0"])
    before = subject.run(other)
    for parameter in one.parameters():
        parameter.data.add_(1.0)
    one.bfloat16()
    assert subject.run(other).tobytes() == before.tobytes()
    assert subject.run(subject.lower(static=["0"])).tobytes() == before.tobytes()


# --- Functions that speak of the model -----------------------------------------------------------------------------


def test_a_closure_over_the_model_is_one_over_the_clone() -> None:
    """A patched forward calls the clone's modules, so that what is replaced in it is called."""
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 4)), torch.nn.ReLU())
    plain = model[0].forward
    model[0].forward = lambda x: plain(x) * 2  # type: ignore[method-assign]  # what users do
    x = torch.randn(3, 4)
    clone = structural_clone(model)
    assert torch.equal(clone(x), model(x))
    with torch.no_grad():
        clone[0][0].weight.zero_()
        clone[0][0].bias.zero_()
    assert not clone(x).any()
    assert model(x).any()


def test_a_hook_over_the_model_is_one_over_the_clone() -> None:
    """What it writes to the model it holds, it writes to the clone."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    model.seen = 0

    def count(_module: Any, _args: Any, _output: Any) -> None:
        model.seen += 1

    model[0].register_forward_hook(count)
    clone = structural_clone(model)
    clone(torch.randn(3, 4))
    assert (model.seen, clone.seen) == (0, 1)


def test_a_function_that_holds_itself_is_copied() -> None:
    """Nothing is followed for ever."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))

    def again(*_: Any) -> None:
        assert again is not None

    model[0].register_forward_hook(again)
    structural_clone(model)(torch.randn(3, 4))


# --- Compiled models -----------------------------------------------------------------------------------------------


def compiled_in_place(model: torch.nn.Module, *parts: torch.nn.Module) -> torch.nn.Module:
    """Return the model with some of it compiled."""
    for part in parts:
        part.compile(backend="eager")
    return model


COMPILED: dict[str, Callable[[Any], torch.nn.Module]] = {
    "the model": lambda model: torch.compile(model, backend="eager"),
    "in place": lambda model: compiled_in_place(model, model),
    "a block in place": lambda model: compiled_in_place(model, model[1]),
    "a wrapped block": lambda model: model.__setitem__(1, torch.compile(model[1], backend="eager")) or model,
    "a block's forward": lambda model: (
        setattr(model[1], "forward", torch.compile(model[1].forward, backend="eager")) or model
    ),
}


@pytest.mark.parametrize("way", COMPILED)
def test_a_compiled_model_is_tuned_as_it_was_written(bench: Callable[..., Any], way: str) -> None:
    """However it was compiled, all its ops are found under their own names, and run in INT8."""
    plain = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()), torch.nn.Linear(8, 3)
    )
    model, x = COMPILED[way](plain.eval()), torch.randn(64, 8)
    with torch.no_grad():
        model(x)
    subject = bench(model, x)
    lowered = subject.lower(static=subject.ops)
    assert set(subject.ops) == {"0", "1.0", "2"}
    assert subject.adapter.int8_kernels(lowered) == 3
    assert subject.close(lowered, 0.05)


def test_an_artefact_loads_into_a_compiled_architecture(bench: Callable[..., Any], tmp_path: Any) -> None:
    """And the result may be compiled again."""
    make = lambda: torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))  # noqa: E731 - said twice
    subject = bench(make(), torch.randn(16, 8))
    lowered = subject.lower(static=["0"])
    subject.adapter.save(lowered, tmp_path)
    loaded = subject.adapter.load(tmp_path, model=torch.compile(make(), backend="eager"))
    assert subject.run(loaded).tobytes() == subject.run(lowered).tobytes()
    with torch.no_grad():
        assert torch.equal(torch.compile(loaded, backend="eager")(subject.inputs), loaded(subject.inputs))


def test_scripted_and_half_models_are_refused_with_the_cure() -> None:
    """In one line."""
    plain = torch.nn.Sequential(torch.nn.Linear(8, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has deprecated scripting
        scripted, traced = torch.jit.script(plain), torch.jit.trace(plain, torch.randn(2, 8))
    adapter = PyTorchAdapter()
    for model in (scripted, traced):
        with pytest.raises(
            ModelError, match="is scripted or traced, so its layers cannot be replaced; give the eager model"
        ):
            adapter.describe(model, (torch.randn(4, 8), None))
    for dtype in (torch.bfloat16, torch.float16):
        half = torch.nn.Sequential(torch.nn.Linear(8, 3)).to(dtype)
        with pytest.raises(ModelError, match=r"has its weights in b?float16; give model\.float\(\)"):
            adapter.describe(half, (torch.randn(4, 8, dtype=dtype), None))


class CompiledForward(torch.nn.Module):
    """A class whose forward was compiled as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 3)

    @torch.compile(backend="eager")
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())


def test_a_forward_compiled_in_its_class_is_run_as_it_was_written(bench: Callable[..., Any]) -> None:
    """Compiled code would pass by the hooks that calibrate, and by the modules that are replaced."""
    model, x = CompiledForward().eval(), torch.randn(64, 8)
    with torch.no_grad():
        model(x)
    subject = bench(model, x)
    assert subject.close(subject.lower(static=subject.ops), 0.05)


def test_a_class_that_makes_other_modules_in_its_copies_is_refused(bench: Callable[..., Any]) -> None:
    """Nothing could stand in place of its ops."""

    class Rebuilding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(8, 3)

        def __deepcopy__(self, memo: Any) -> Any:
            new = Rebuilding()
            new.load_state_dict(self.state_dict())
            return new

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    with pytest.raises(ModelError, match=r"nothing to quantize: fc: a class .*, so nothing can stand in place of fc"):
        bench(Rebuilding(), torch.randn(8, 8))


def test_a_hook_that_removes_itself_stays_on_the_model() -> None:
    """What runs once in a copy is still to run in the model."""
    model, calls = torch.nn.Sequential(torch.nn.Linear(4, 4)), []

    def once(_module: Any, _args: Any) -> None:
        calls.append(1)
        handle.remove()

    handle = model[0].register_forward_pre_hook(once)
    structural_clone(model)(torch.randn(3, 4))
    assert len(model[0]._forward_pre_hooks) == 1


FORMS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "tuned": (lambda model: setattr(model, "ilit", 1), "has an attribute 'ilit'"),
    "dotted": (lambda model: model._modules.update({"x.y": torch.nn.ReLU()}), "the module name 'x.y' has a dot"),
    "without values": (lambda model: model.to("meta"), "weights without values"),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_has_no_form_to_tune_is_refused(name: str) -> None:
    """In one line with the cure."""
    change, text = FORMS[name]
    model = torch.nn.Sequential(torch.nn.Linear(8, 3))
    change(model)
    with pytest.raises(ModelError, match=text):
        PyTorchAdapter().describe(model, (torch.randn(4, 8), None))
