"""What of a model is in an artefact: everything its answers depend on, or it is named before the search."""

from __future__ import annotations

import weakref
from collections import deque, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ilit.errors import IlitWarning, ModelError


def check_savable(subject: Any) -> None:
    """Look before the search whether an artefact holds the model."""
    lowered, batch = subject.lower(), (subject.inputs, None)
    subject.adapter.check_savable(subject.model, lowered, batch, subject.adapter.outputs(lowered, batch))


class Scaled(torch.nn.Module):
    """Keeps fitted values in some way of its own."""

    def __init__(self, keep: Callable[[Any], Any], value: float) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(8, 4)
        self.fit(keep, value)

    def fit(self, keep: Callable[[Any], Any], value: float) -> None:
        keep(self)
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x * self.value)


class ExtraState(torch.nn.Module):
    """A module with extra state of any form."""

    def __init__(self, value: Any, read: Callable[[Any], float]) -> None:
        super().__init__()
        self.fc, self.state, self.read = torch.nn.Linear(8, 4), value, read

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        self.state = state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x * self.read(self.state))


EXTRA: dict[str, tuple[Any, Any, Callable[[Any], float]]] = {
    "number": (3.0, 0.0, lambda s: s),
    "dict": ({"mean": 0.1, "n": 3, "name": "a", "none": None}, {"mean": 1.0, "n": 1}, lambda s: s["mean"] * s["n"]),
    "tensor": (torch.tensor(3.0), torch.tensor(0.0), lambda s: s),
    "nested": ({"a": [(torch.tensor([2.0]), 3)]}, {"a": [(torch.zeros(1), 0)]}, lambda s: s["a"][0][0] * s["a"][0][1]),
}


@pytest.mark.parametrize("name", EXTRA)
def test_extra_state_comes_back(bench: Callable[..., Any], tmp_path: Path, name: str) -> None:
    """What ``get_extra_state`` gives is in the artefact, tensors in it too, and the architecture's own is not used."""
    ours, others, read = EXTRA[name]
    subject = bench(ExtraState(ours, read), torch.randn(16, 8))
    lowered = subject.lower(static=["fc"])
    subject.adapter.save(lowered, tmp_path)
    loaded = subject.adapter.load(tmp_path, model=ExtraState(others, read))
    assert subject.run(loaded).tobytes() == subject.run(lowered).tobytes()
    assert str(loaded.state) == str(ours)


def test_a_plain_tensor_comes_back(bench: Callable[..., Any], tmp_path: Path) -> None:
    """A tensor that is an attribute and no buffer is in the artefact, be it that a fresh architecture has none yet."""

    class Plain(torch.nn.Module):
        def __init__(self, table: Any) -> None:
            super().__init__()
            self.fc, self.table = torch.nn.Linear(8, 4), table

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x * self.table)

    subject = bench(Plain(torch.randn(8)), torch.randn(16, 8))
    lowered = subject.lower(static=["fc"])
    subject.adapter.save(lowered, tmp_path)
    for table in (torch.zeros(8), None):
        loaded = subject.adapter.load(tmp_path, model=Plain(table))
        assert subject.run(loaded).tobytes() == subject.run(lowered).tobytes()


def hidden_in_a_list(model: Any) -> None:
    """Keep the tensor where nobody finds it."""
    model.tables = [torch.full((4,), 3.0)]
    model.fc.register_forward_hook(lambda _own, _args, output: output * model.tables[0])


class Opaque:
    """State that is no tensor and no plain value."""


class Held:
    """A plain object."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Slotted:
    """An object without a dict."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


Pair = namedtuple("Pair", "value")
HOLDERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "array": (lambda t: t.numpy(), torch.from_numpy),
    "named tuple": (Pair, lambda held: held.value),
    "deque": (lambda t: deque([t]), lambda held: held[0]),
    "object": (Held, lambda held: held.value),
    "slots": (Slotted, lambda held: held.value),
    "nested": (lambda t: {"a": [Held(t)]}, lambda held: held["a"][0].value),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_state_in_any_holder_is_missed_before_the_search(bench: Callable[..., Any], name: str) -> None:
    """Wherever a module keeps numbers that its answers depend on, an artefact without them is no artefact."""
    hold, read = HOLDERS[name]

    class Holding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.held = torch.nn.Linear(8, 4), hold(torch.full((8,), 3.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x * read(self.held))

    with pytest.raises(ModelError, match="state that is neither parameter nor buffer"):
        check_savable(bench(Holding(), torch.randn(16, 8)))


class Referring(torch.nn.Module):
    """Calls a module that is none of its own."""

    def __init__(self, refer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.fc, self.last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)
        self.refer = refer(torch.nn.Linear(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.refer()(self.fc(x)))


KEPT: list[Any] = []


def by_weak_reference(module: torch.nn.Module) -> Any:
    """Keep the module elsewhere."""
    KEPT.append(module)
    return weakref.ref(module)


def by_default(module: torch.nn.Module) -> Any:
    """Keep the module as a function's default."""
    return lambda module=module: module


@pytest.mark.parametrize("refer", [by_weak_reference, by_default])
def test_modules_that_are_none_of_the_models_are_refused(
    bench: Callable[..., Any], refer: Callable[[Any], Any]
) -> None:
    """A copy would run the user's own, and an artefact would not have them."""
    with pytest.raises(ModelError, match=r"uses a parameter \(8, 8\) of a module that is none of its submodules"):
        check_savable(bench(Referring(refer), torch.randn(16, 8)))


def test_a_buffer_that_is_an_attribute_too_comes_back(bench: Callable[..., Any], tmp_path: Path) -> None:
    """Two names of one tensor, of which one is no buffer; and a buffer of None that a forward fills."""

    class Twice(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(8, 4)
            self.register_buffer("scale", torch.full((8,), value))
            self.again = self.scale
            self.register_buffer("late", None)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.late is None:
                self.late = torch.ones(8)
            return self.fc(x * self.scale + self.again) + self.late.sum()

    model = Twice(2.0).eval()
    model(torch.randn(2, 8))
    subject = bench(model, torch.randn(16, 8))
    check_savable(subject)
    lowered = subject.lower(static=["fc"])
    subject.adapter.save(lowered, tmp_path)
    assert subject.run(subject.adapter.load(tmp_path, model=Twice(0.0))).tobytes() == subject.run(lowered).tobytes()


UNSAVABLE: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "a tensor in a list": (
        lambda: Scaled(hidden_in_a_list, 1.0),
        r"cannot hold all that its answers depend on, first seen at fc: state that is neither parameter nor buffer",
    ),
    "opaque extra state": (lambda: ExtraState(Opaque(), lambda s: 1.0), r"get_extra_state gives a Opaque"),
    "a sparse buffer": (
        lambda: Scaled(lambda m: m.register_buffer("map", torch.eye(4).to_sparse()), 1.0),
        r"map is a sparse_coo tensor, which safetensors cannot hold",
    ),
}


@pytest.mark.parametrize("name", UNSAVABLE)
def test_what_cannot_be_held_is_named_before_the_search(bench: Callable[..., Any], name: str) -> None:
    """In one line, by the module it belongs to."""
    make, text = UNSAVABLE[name]
    subject = bench(make(), torch.randn(16, 8))
    with pytest.raises(ModelError, match=text) as caught:
        check_savable(subject)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*quantized:UserWarning")
def test_packed_weights_of_torch_are_named(bench: Callable[..., Any]) -> None:
    """An LSTM that torch has quantized before keeps packed objects, which are no tensors."""

    class Recurrent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(8, 8), torch.nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0])

    model = torch.ao.quantization.quantize_dynamic(Recurrent().eval(), {torch.nn.LSTM}, dtype=torch.qint8)
    subject = bench(model, torch.randn(5, 16, 8))
    with pytest.raises(ModelError, match=r"lstm.* holds .* as a .*, which an artefact without pickle cannot hold"):
        check_savable(subject)


def test_a_healthy_model_is_silent(bench: Callable[..., Any], sample: Callable[[str], Any]) -> None:
    """Nothing is said of models that an artefact holds."""
    for name in ("mlp", "conv", "stubbed-conv", "tied-embedding"):
        one = sample(name)
        subject = bench(one.model, one.batches[0][0])
        check_savable(subject)


def test_what_a_function_holds_is_warned_of(bench: Callable[..., Any]) -> None:
    """A patch that brings weights of its own works, but whoever loads the model has to bring them again."""
    model, extra = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 3)), torch.nn.Linear(8, 8)
    plain = model[0].forward
    model[0].forward = lambda x: plain(x) + extra(x)
    subject = bench(model, torch.randn(16, 8))
    with pytest.warns(
        IlitWarning, match="0: a function hung on it holds extra, which is no part of the model"
    ) as warned:
        check_savable(subject)
    assert [warning.filename for warning in warned] == [__file__]


PATCH = torch.nn.Linear(8, 8)


def test_what_a_patch_reads_of_globals_is_warned_of(bench: Callable[..., Any]) -> None:
    """As what it holds: a script's own variables are globals."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    model[0].forward = lambda x: PATCH(x) * 2
    with pytest.warns(IlitWarning, match="0: a function hung on it holds PATCH, which is no part of the model"):
        check_savable(bench(model, torch.randn(16, 8)))


def test_an_attribute_called_kind_confuses_nothing(bench: Callable[..., Any], tmp_path: Path) -> None:
    """A module of the user's that has what our own modules have is saved like any other."""

    class Kinded(torch.nn.Linear):
        kind = "linear"
        int8_kernels = 1

        def meta(self) -> dict[str, Any]:
            return {}

        def tensors(self) -> dict[str, Any]:
            return {}

    model = torch.nn.Sequential(torch.nn.Linear(8, 8), Kinded(8, 8), torch.nn.Linear(8, 3))
    subject = bench(model, torch.randn(16, 8))
    lowered = subject.lower(static=["0"])
    subject.adapter.save(lowered, tmp_path)
    fresh = torch.nn.Sequential(torch.nn.Linear(8, 8), Kinded(8, 8), torch.nn.Linear(8, 3))
    assert subject.run(subject.adapter.load(tmp_path, model=fresh)).tobytes() == subject.run(lowered).tobytes()
