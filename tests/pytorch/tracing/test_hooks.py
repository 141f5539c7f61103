"""Marks that activations carry from the stubs they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub

from ilit_pytorch import QuantStub
from ilit_pytorch.tracing.hooks import Marked, add_trace_hooks, mark, marks_of
from ilit_pytorch.tracing.state import TraceState

X = torch.randn(6, 4)
OURS, THEIRS = frozenset({"ours"}), frozenset({"theirs"})
USES: dict[str, tuple[Callable[[torch.Tensor], Any], frozenset[str], bool]] = {
    "a function": (torch.tanh, THEIRS, True),
    "a method": (lambda x: x.reshape(-1), THEIRS, True),
    "an operator with a plain tensor": (lambda x: torch.ones(4) + x, THEIRS, True),
    "several outputs": (lambda x: x.chunk(2), THEIRS, True),
    "its shape": (lambda x: (x.shape, x.size(0), len(x), x.dtype), frozenset(), False),
}


@pytest.mark.parametrize("name", USES)
def test_marks_of_torchs_stubs_go_through_functions(name: str) -> None:
    """Those of ilit's end there: the stub escapes, unless only the form was asked for."""
    use, marks, reads = USES[name]
    state = TraceState(shared={"ours"})
    output = use(mark(X, OURS | THEIRS, state))
    assert marks_of(output) == marks
    assert state.escaping_stubs == (OURS if reads else set())


def test_within_an_op_nothing_escapes() -> None:
    """What an op does with its input is its own matter."""
    state = TraceState(shared={"ours"}, reading=1)
    torch.tanh(mark(X, OURS, state))
    assert state.escaping_stubs == set()


def test_what_meets_is_joined() -> None:
    """Activations of two stubs in one function make one island."""
    state = TraceState()
    both = mark(X, frozenset("p"), state) + mark(X, frozenset("q"), state)
    assert marks_of(both) == frozenset("pq")
    assert state.joined.roots("pq") == ["p"]


def test_only_tensors_are_marked() -> None:
    """Anything else is handed through."""
    state, value = TraceState(), object()
    assert mark(value, OURS, state) is value
    assert marks_of({"a": [mark(X, OURS, state)], "b": X}) == OURS


class Net(torch.nn.Module):
    """Every kind of module that is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.query, self.head = QuantStub(), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        self.quant, self.dequant, self.relu, self.plus = (
            TorchQuantStub(),
            DeQuantStub(),
            torch.nn.ReLU(),
            FloatFunctional(),
        )
        self.idle, self.patched = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.patched.forward = torch.tanh  # type: ignore[method-assign]  # as owners of models do

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quant(self.patched(self.query(self.ours(x))))
        return self.dequant(self.head(self.plus.add_scalar(self.relu(x), 1.0)))


def test_a_forward_fills_the_state() -> None:
    """What was called in which order, and what reached it; the output leaves without a mark."""
    model, state = Net(), TraceState()
    add_trace_hooks(model, state)
    output = model(X)
    assert not isinstance(output, Marked)
    assert (state.stubs, state.dequant_stubs, state.shared) == (["quant"], ["dequant"], {"ours"})
    assert state.kinds == {"query": ("linear", False), "head": ("linear", False)}
    assert state.marks == {"query": [OURS], "head": [frozenset({"quant"})]}
    assert (state.others, state.functionals) == ({"relu": {"quant"}}, {"plus": {"quant"}})
    assert (state.uncalled(), state.left, state.reading) == (["idle"], {"patched": "its forward is patched"}, 0)


def test_an_op_that_is_given_no_row_was_not_called() -> None:
    """As an expert that a batch sends nothing to."""
    model, state = torch.nn.Sequential(torch.nn.Linear(4, 4)), TraceState()
    add_trace_hooks(model, state)
    model(X[:0])
    assert state.uncalled() == ["0"]


def test_a_forward_that_fails_leaves_no_op_open() -> None:
    """The next pass begins as the first did."""
    model, state = torch.nn.Sequential(torch.nn.Linear(4, 4)), TraceState()
    add_trace_hooks(model, state)
    with pytest.raises(RuntimeError):
        model(torch.randn(6, 5))
    assert state.reading == 0
