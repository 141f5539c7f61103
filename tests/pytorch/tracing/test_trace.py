"""One forward pass shows which ops there are, what feeds them, and what cannot be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub

from ilit.errors import DataError, ModelError
from ilit.space import CalibrationSize
from ilit_pytorch import QuantStub
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.tracing.trace import trace, trace_all

X = torch.arange(24.0).reshape(6, 4) / 24


class Behind(torch.nn.Module):
    """A Linear behind ilit's stub, and something else done with the stub's output."""

    def __init__(self, use: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.stub, self.fc, self.use = QuantStub(), torch.nn.Linear(4, 4), use
        self.back = torch.nn.ConvTranspose1d(6, 2, 2)  # there is no kernel for it

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stub(x)
        return self.fc(x), self.use(self, x)


LEAKS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "added": lambda own, x: x + 1,
    "transposed": lambda own, x: own.fc(x.T[:4, :4]),
    "read by a function": lambda own, x: torch.nn.functional.linear(x, torch.ones(4, 4)),
    "read by a float convolution": lambda own, x: own.back(x),
    "returned": lambda own, x: x,
    "looked at by value": lambda own, x: float(x.max()),
}


@pytest.mark.parametrize("name", LEAKS)
def test_an_escaping_stub_is_left_alone(name: str, bench: Callable[..., Any]) -> None:
    """What reads values and is no op makes the stub a plain identity; the op behind it still runs in INT8."""
    subject = bench(Behind(LEAKS[name]), X)
    structure = subject.calibration.structure
    assert structure.escaping_stubs == ("stub",)
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
    "nothing": lambda: torch.nn.Sequential(torch.nn.ReLU()),
}


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


# --- Several batches -------------------------------------------------------------------------------------------------


class Routed(torch.nn.Module):
    """Layers of experts, each called with the rows that name it, or not at all, or with none."""

    def __init__(self, skips: bool = True) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3)) for _ in range(2)
        )
        self.spare, self.head, self.skips = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2), skips

    def forward(self, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        for experts in self.layers:
            out = torch.zeros_like(x)
            for number, expert in enumerate(experts):
                if not self.skips or bool((chosen == number).any()):
                    out[chosen == number] = expert(x[chosen == number])
            x = out
        return self.head(x)


class Taken:
    """Batches of 6 rows for the experts named, counted as they are taken."""

    def __init__(self, *experts: tuple[int, ...]) -> None:
        self.experts, self.count = experts, 0

    def __iter__(self) -> Iterator[Any]:
        for chosen in self.experts:
            self.count += 1
            yield (torch.randn(6, 4), torch.tensor(chosen).repeat(6)[:6]), torch.zeros(6)


EXPERTS = [f"layers.{layer}.{number}" for layer in range(2) for number in range(3)]


@pytest.mark.parametrize("skips", [True, False], ids=["skipped", "given no rows"])
def test_what_the_first_batch_does_not_reach_is_looked_for_in_the_others(skips: bool) -> None:
    """All experts are found, those of a layer before the next, and what no batch reaches is named with that reason."""
    loader, size = Taken((2,), (0,), (1, 2), (0, 1)), CalibrationSize(4, "batches")
    structure = trace_all(Routed(skips), loader, [size])
    assert sorted(structure.sites) == sorted([*EXPERTS, "head"])
    assert [name.rpartition(".")[0] for name in structure.sites] == ["layers.0"] * 3 + ["layers.1"] * 3 + [""]
    assert structure.left == {"spare": "no calibration batch reaches it"}
    assert loader.count == 4


def test_an_op_that_is_given_no_row_is_not_reached() -> None:
    """Nothing is known of what it will be given, so it is looked for like one that is not called."""
    structure = trace(Routed(skips=False), next(iter(Taken((2,)))))
    assert list(structure.sites) == ["layers.0.2", "layers.1.2", "head"]
    assert set(structure.left) == {"spare", *EXPERTS} - set(structure.sites)


class Steps(torch.nn.Module):
    """Runs its Linears in the order that a batch names them."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early, self.between = (torch.nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        for number in order[0].tolist():
            x = (self.late, self.early, self.between)[number](x)
        return x


@pytest.mark.parametrize(
    ("orders", "wanted"),
    [
        ([[0], [1], [2]], ["late", "early", "between"]),
        ([[1, 0], [2, 0]], ["early", "between", "late"]),
        ([[1], [1, 2, 0]], ["early", "between", "late"]),
        ([[0, 1], [1, 0], [2]], ["late", "early", "between"]),
    ],
    ids=["said by none", "one last", "said by one", "said both ways"],
)
def test_ops_of_several_batches_come_as_all_say(orders: list[list[int]], wanted: list[str]) -> None:
    """What no batch says, or two say differently, is as the model holds them."""
    batches = [((torch.randn(3, 4), torch.tensor([order] * 3)), None) for order in orders]
    assert list(trace_all(Steps(), batches, [CalibrationSize(3, "batches")]).sites) == wanted


def test_no_more_batches_are_taken_than_needed() -> None:
    """One where it reaches all; else until all are reached, and never more than the longest size takes."""
    model, longest = Routed(), CalibrationSize(18, "rows")
    model.spare = torch.nn.Identity()
    for experts, taken, found in (
        (((0, 1, 2), (0,)), 1, 6),
        (((0,), (1, 2), (0,)), 2, 6),
        (((0,), (0,), (1,), (2,)), 3, 4),
    ):
        loader = Taken(*experts)
        structure = trace_all(model, loader, [CalibrationSize(1, "batches"), longest])
        assert loader.count == taken
        assert len(structure.sites) == found + 1
        assert len(structure.left) == 6 - found


def test_a_later_batch_that_the_model_does_not_take_is_named() -> None:
    """The error has the batch's number; no batch at all is said likewise."""

    def loader() -> Iterator[Any]:
        yield (torch.randn(6, 4), torch.zeros(6)), torch.zeros(6)
        yield (torch.randn(6, 5), torch.zeros(6)), torch.zeros(6)

    size = CalibrationSize(5, "batches")
    with pytest.raises(ModelError, match=r"Routed raised on batch 2 of the calibration data: RuntimeError: .*; run "):
        trace_all(Routed(), loader(), [size])
    with pytest.raises(DataError, match="calibration: the loader yields no batch"):
        trace_all(Routed(), [], [size])


class Forked(torch.nn.Module):
    """Two of torch's islands that are joined only where a batch asks for it, and readers of a stub likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = TorchQuantStub(), TorchQuantStub(), DeQuantStub()
        self.left, self.right, self.rare = (torch.nn.Linear(4, 4) for _ in range(3))
        self.plus, self.stub = FloatFunctional(), QuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.left(self.one(x)), self.right(self.two(x))
        if bool(x[0, 0] > 0):
            return self.out(self.plus.add(left, left) + torch.cat([left, right])[:3]) + self.leak(x)
        return self.out(left) + self.out(right)

    def leak(self, x: torch.Tensor) -> torch.Tensor:
        shared = self.stub(x)
        return self.rare(shared) + shared


def test_islands_that_a_later_batch_joins_are_one() -> None:
    """What any batch shows of stubs, islands and leaks holds for all."""
    low, high = ((torch.full((3, 4), sign), torch.zeros(3)) for sign in (-1.0, 1.0))
    apart, together = (
        trace_all(Forked(), batches, [CalibrationSize(2, "batches")]) for batches in ([low], [low, high])
    )
    assert len(apart.islands) == 2
    assert [island.ops for island in together.islands] == [("left", "right")]
    assert together.islands[0].functionals == ("plus",)
    assert together.escaping_stubs == ("stub",)
    assert together.sites["rare"].source == ""


def test_attention_that_reads_a_weight_of_its_own_is_named() -> None:
    """No further batch is taken for it, and the reason says why it stays in float."""
    model = torch.nn.Sequential(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    structure = trace_all(model, [(torch.randn(3, 5, 8), None), (None, None)], [CalibrationSize(2, "batches")])
    reason = "torch.nn.MultiheadAttention reads its weight and never calls it"
    assert structure.left == {"0.self_attn.out_proj": reason}
