"""One forward pass shows which ops there are, what feeds them, and what cannot be relied on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.errors import DataError, ModelError
from ilit_pytorch import QuantStub
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.trace import trace

X = torch.arange(24.0).reshape(6, 4) / 24


class Behind(torch.nn.Module):
    """A Linear behind ilit's stub, and something else done with the stub's output."""

    def __init__(self, use: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.stub, self.fc, self.use = QuantStub(), torch.nn.Linear(4, 4), use
        self.even = torch.nn.Conv1d(6, 2, 2, padding="same")  # no kernel pads like this

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stub(x)
        return self.fc(x), self.use(self, x)


LEAKS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "added": lambda own, x: x + 1,
    "transposed": lambda own, x: own.fc(x.T[:4, :4]),
    "read by a function": lambda own, x: torch.nn.functional.linear(x, torch.ones(4, 4)),
    "read by a float convolution": lambda own, x: own.even(x),
    "returned": lambda own, x: x,
    "looked at by value": lambda own, x: float(x.max()),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's advice, not ours
@pytest.mark.parametrize("name", LEAKS)
def test_a_leaky_stub_is_left_alone(name: str, bench: Callable[..., Any]) -> None:
    """What reads values and is no op makes the stub a plain identity; the op behind it still runs in INT8."""
    subject = bench(Behind(LEAKS[name]), X)
    structure = subject.calibration.structure
    assert structure.leaky == ("stub",)
    assert structure.sites["fc"].source == ""
    lowered = subject.lower(static=["fc"])
    assert type(lowered.stub) is QuantStub
    lowered(X)


def test_ops_in_the_order_of_use_and_none_that_is_not_called() -> None:
    """Modules the forward never calls are no ops; one that stands in two places is one op."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle, self.second, self.first = (torch.nn.Linear(4, 4) for _ in range(3))
            self.alias = self.first

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.alias(self.second(self.first(x)))

    assert list(trace(Net(), (X, None)).sites) == ["first", "second"]


@pytest.mark.parametrize("first", [True, False], ids=["batch first", "length first"])
def test_attention_hands_its_weights_over_and_is_left_float(bench: Callable[..., Any], first: bool) -> None:
    """The MultiheadAttention never calls its Linear, so it is no op; the encoder layer's own Linears are."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=first, dropout=0.0)
    subject = bench(torch.nn.Sequential(layer), torch.randn(3, 5, 8))
    assert subject.ops == ("0.linear1", "0.linear2")
    lowered = subject.lower(static=subject.ops)
    assert subject.adapter.int8_kernels(lowered) == 2
    assert subject.close(lowered, 0.05)
    assert not torch.equal(torch.tensor(subject.run(lowered)), torch.tensor(subject.run()))


NO_OPS: dict[str, Callable[[], torch.nn.Module]] = {
    "double": lambda: torch.nn.Sequential(torch.nn.Linear(4, 4).double()),
    "reflecting": lambda: torch.nn.Sequential(torch.nn.Conv1d(6, 2, 3, padding=1, padding_mode="reflect")),
    "even same": lambda: torch.nn.Sequential(torch.nn.Conv1d(6, 2, 2, padding="same")),
    "nothing": lambda: torch.nn.Sequential(torch.nn.ReLU()),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's advice, not ours
@pytest.mark.parametrize("name", NO_OPS)
def test_nothing_to_quantize_is_refused(name: str) -> None:
    """What no kernel can stand for is no op, and a model of nothing else is refused in one line."""
    with pytest.raises(ModelError, match=r"nothing to quantize|weights in float64"):
        PyTorchAdapter().describe(NO_OPS[name](), (X.double() if name == "double" else X, None))


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no module": (lambda: PyTorchAdapter().describe(len, (X, None)), ModelError, "takes a torch.nn.Module"),
    "one op": (lambda: trace(torch.nn.Linear(4, 4), (X, None)), ModelError, "put it into a torch.nn.Sequential"),
    "no pair": (lambda: trace(torch.nn.Sequential(torch.nn.Linear(4, 4)), X), DataError, "must yield (input, label)"),
    "shape": (lambda: trace(torch.nn.Sequential(torch.nn.Linear(5, 4)), (X, None)), ModelError, "raised on the first"),
    "keys": (lambda: trace(Behind(LEAKS["added"]), ({"y": X}, None)), DataError, "no parameter 'y'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_refused(name: str) -> None:
    """One line says what and the cure."""
    call, error, text = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
