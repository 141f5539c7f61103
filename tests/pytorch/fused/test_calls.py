"""Fused calls: in float the plain ones to the bit, in INT8 one kernel that gives what the plain ones give."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ilit.recipe import QuantSpec
from ilit_pytorch import QuantStub, feed_forward, linear_activation, linear_add, saturated_twin
from ilit_pytorch.engine import kernels

WIDTH, INNER = 16, 24


class Block(torch.nn.Module):
    """A feed-forward block with its residual, and a Linear with ReLU and one with a residual besides."""

    def __init__(self, activation: Any = None) -> None:
        super().__init__()
        self.stub, self.between = QuantStub(), QuantStub()
        self.up, self.down = torch.nn.Linear(WIDTH, INNER), torch.nn.Linear(INNER, WIDTH)
        self.activation, self.dropout = activation or torch.nn.GELU(), torch.nn.Dropout(0.3)
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.first, self.second = torch.nn.Linear(WIDTH, INNER), torch.nn.Linear(INNER, WIDTH)
        self.head = torch.nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summed = feed_forward(self.up, self.activation, self.down, self.stub(x), x, self.between, self.dropout)
        y = self.norm(summed)
        hidden = linear_activation(self.first, torch.relu, y)
        return self.head(linear_add(self.second, hidden, y, self.dropout))


class Plain(Block):
    """The same in plain calls."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.activation(self.up(self.stub(x)))
        y = self.norm(self.dropout(self.down(self.between(hidden))) + x)
        hidden = torch.relu(self.first(y))
        return self.head(self.dropout(self.second(hidden)) + y)


OPS = ("up", "down", "first", "second", "head")
FUSED = {"linear_codes": 1, "linear_add": 2, "relu": 1}
IN_FLOAT = {"linear_add": 2, "gelu": 1, "relu": 1}


@pytest.fixture
def x() -> torch.Tensor:
    """Return an input of two rows of 40 tokens."""
    return torch.randn(2, 40, WIDTH)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return the calls of kernels that do more than a Linear, counted as they are made."""
    count: dict[str, int] = {}

    def counted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            key = args[4] if name == "linear" and len(args) > 4 else name
            if key not in ("linear", "none"):
                count[key] = count.get(key, 0) + 1
            return plain(*args)

        return call

    for name in ("linear", "linear_codes", "linear_add"):
        monkeypatch.setattr(kernels, name, counted(name, getattr(kernels, name)))
    return count


@pytest.fixture(params=["8-bit", "7-bit", "symmetric"])
def config(request: pytest.FixtureRequest, nets: Any) -> Any:
    """Return a static config that no class of CPU saturates on."""
    bits = {"8-bit": ("asym", 8), "7-bit": ("asym", 7), "symmetric": ("sym", 8)}[request.param]
    return replace(nets.STATIC, activation=QuantSpec("uint8", bits[0], bits=bits[1]))


def plain_of(block: Any) -> Any:
    """Return a lowered block with its forward in plain calls, over the same modules."""
    plain = copy.copy(block)
    plain.__class__ = Plain
    return plain


def lowered(bench: Any, x: torch.Tensor, config: Any, **others: Any) -> Any:
    """Return a block with all ops by one config, calibrated on ``x``."""
    subject = bench(Block(), x)
    return subject.lower(**{**dict.fromkeys(OPS, config), **others})


# --- Float -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("activation", [torch.nn.GELU(), torch.nn.SiLU(), torch.tanh], ids=["gelu", "silu", "tanh"])
def test_in_float_nothing_changes(x: torch.Tensor, training: bool, activation: Any) -> None:
    """Outputs and gradients are those of the plain calls bit by bit, with dropout on as well."""
    torch.manual_seed(0)
    block = Block(activation).train(training)
    plain = plain_of(block)
    answers = []
    for model in (block, plain):
        torch.manual_seed(1)
        block.zero_grad()
        output = model(x)
        output.square().sum().backward()
        answers.append([output.detach(), *(p.grad.clone() for p in block.parameters() if p.grad is not None)])
    assert len(answers[0]) > 10
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))


def test_tracing_sees_the_same_ops(bench: Any, x: torch.Tensor) -> None:
    """In the order they run, each with the input it would have."""
    fused, plain = bench(Block(), x).calibration.structure, bench(Plain(), x).calibration.structure
    assert tuple(fused.sites) == OPS
    assert fused == plain


# --- INT8 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1.0, 2.0], ids=["range", "twice the range"])
@torch.no_grad()
def test_a_static_block_is_four_kernels(
    bench: Any, x: torch.Tensor, config: Any, called: dict[str, int], times: float
) -> None:
    """With the values of the plain calls; a code may be one apart, which moves a sum by less than a code's weight."""
    block = lowered(bench, x, config)
    found = block(times * x)
    assert called == FUSED
    called.clear()
    wanted = plain_of(block)(times * x)
    assert called == {}
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0.02)
    assert float((found - wanted).abs().gt(1e-5).float().mean()) < 0.02


@torch.no_grad()
def test_codes_between_two_linears_keep_to_the_readers(
    bench: Any, x: torch.Tensor, nets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven-bit ones never exceed 127, whatever comes, since on CPUs without VNNI larger ones saturate the sums."""
    given = []
    add = kernels.linear_add
    monkeypatch.setattr(kernels, "linear_add", lambda codes, *rest: given.append(codes.codes) or add(codes, *rest))
    seven = replace(nets.STATIC, activation=QuantSpec("uint8", "asym", bits=7))
    lowered(bench, x, seven)(50.0 * x)
    assert int(given[0].max()) == 127


@torch.no_grad()
def test_a_smoothed_reader_takes_floats(bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int]) -> None:
    """One scale for all channels would not do; GELU is part of the kernel all the same, and no code differs."""
    block = lowered(bench, x, nets.STATIC, down=replace(nets.STATIC, smoothing=0.8))
    found = block(x)
    assert called == IN_FLOAT
    torch.testing.assert_close(found, plain_of(block)(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_an_activation_that_is_no_post_op_is_called(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int]
) -> None:
    """Such as GELU by tanh; the residual is still added in the kernel."""
    block = bench(Block(torch.nn.GELU(approximate="tanh")), x).lower(OPS)
    found = block(x)
    assert called == {"linear_add": 2, "relu": 1}
    assert torch.equal(found, plain_of(block)(x))


@torch.no_grad()
def test_without_the_operator_that_adds_the_rest_is_fused(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the values are the same."""
    block = lowered(bench, x, nets.STATIC)
    monkeypatch.setattr(kernels, "has_linear_add", lambda: False)
    found = block(x)
    assert called == {"gelu": 1, "relu": 1}
    torch.testing.assert_close(found, plain_of(block)(x), rtol=1e-5, atol=1e-5)


# --- Where the plain calls are made ----------------------------------------------------------------------------------


def _hook(name: str) -> Callable[[Any], None]:
    return lambda block: block.get_submodule(name).register_forward_hook(lambda *_: None)


def _pre_hook(name: str) -> Callable[[Any], None]:
    return lambda block: block.get_submodule(name).register_forward_pre_hook(lambda *_: None)


def _patch(name: str) -> Callable[[Any], None]:
    def patch(block: Any) -> None:
        module = block.get_submodule(name)
        module.forward = module.forward

    return patch


def _thaw(block: Any) -> None:
    for name in ("up", "down", "first", "second"):
        block.get_submodule(name).weight_scale.requires_grad_(True)


REST = {"linear_add": 1, "relu": 1}  # of the second half, where only the first is in the way
IN_THE_WAY: dict[str, tuple[Callable[[Any], Any], dict[str, int]]] = {
    "hook on up": (_hook("up"), {"linear_add": 2, "relu": 1}),
    "hook on down": (_hook("down"), {"gelu": 1, **REST}),
    "pre-hook on down": (_pre_hook("down"), {"gelu": 1, **REST}),
    "hook on the activation": (_hook("activation"), {"linear_add": 2, "relu": 1}),
    "hook on the stub between": (_hook("between"), IN_FLOAT),
    "hook on the dropout": (_hook("dropout"), {"gelu": 1, "relu": 1}),
    "up patched": (_patch("up"), {"linear_add": 2, "relu": 1}),
    "down patched": (_patch("down"), {"gelu": 1, **REST}),
    "down compiled": (lambda block: block.down.compile(backend="eager"), {"gelu": 1, **REST}),
    "training": (lambda block: block.train(), {"gelu": 1, "relu": 1}),
}


@pytest.mark.parametrize("way", IN_THE_WAY)
@torch.no_grad()
def test_what_is_in_the_way_is_called(bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int], way: str) -> None:
    """A hook, a patch or a dropout that drops has its effect; what is not concerned stays fused."""
    block = lowered(bench, x, nets.STATIC)
    change, left = IN_THE_WAY[way]
    change(block)
    torch.manual_seed(0)
    found = block(x)
    assert called == left
    torch.manual_seed(0)
    torch.testing.assert_close(found, plain_of(block)(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_hooks_see_and_change_what_they_would(bench: Any, x: torch.Tensor, nets: Any) -> None:
    """Inputs and outputs of the plain calls; a changed output goes on."""
    block, seen = lowered(bench, x, nets.STATIC), []

    def double(_module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        seen.append((args[0].shape, output.shape))
        return 2 * output

    block.down.register_forward_hook(double)
    torch.testing.assert_close(block(x), plain_of(block)(x), rtol=1e-5, atol=1e-5)
    assert seen == [((2, 40, INNER), (2, 40, WIDTH))] * 2


@pytest.fixture
def _everywhere() -> Iterator[None]:
    handle = torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: None)
    yield
    handle.remove()


def _in_autocast(model: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model(x)


class Named(torch.Tensor):
    """A tensor of somebody's own class."""


RUNS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "autocast": _in_autocast,
    "bfloat16": lambda model, x: model.bfloat16()(x.bfloat16()),
    "double": lambda model, x: model.double()(x.double()),
    "no rows": lambda model, x: model(x[:0]),
    "a tensor class": lambda model, x: model(x.as_subclass(Named)),
    "gradients": lambda model, x: torch.enable_grad()(model)(x.clone().requires_grad_()).detach(),
    "torch.compile": lambda model, x: torch.compile(model, backend="eager")(x),
    "torch.export": lambda model, x: torch.export.export(model, (x,)).module()(x),
}


@pytest.mark.parametrize("way", RUNS)
@torch.no_grad()
def test_other_ways_to_run_are_the_plain_calls(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int], way: str
) -> None:
    """Bit by bit."""
    block = lowered(bench, x, nets.STATIC)
    plain = plain_of(copy.deepcopy(block))
    found = RUNS[way](block, x)
    assert called == {}
    assert torch.equal(found, RUNS[way](plain, x))


@pytest.mark.usefixtures("_everywhere")
@torch.no_grad()
def test_hooks_on_all_modules_run_on_each(bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int]) -> None:
    """As profilers put them."""
    block = lowered(bench, x, nets.STATIC)
    assert torch.equal(block(x), plain_of(block)(x))
    assert called == {}


def test_a_thawed_scale_refuses_backward_as_before(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int]
) -> None:
    """No graph ends here in silence."""
    block = lowered(bench, x, nets.STATIC)
    _thaw(block)
    assert block(x).requires_grad
    assert called == {}


def test_the_gradient_of_a_residual_goes_through(x: torch.Tensor, bench: Any, nets: Any) -> None:
    """To what it was computed from, while that of the INT8 op's input is refused."""
    block = lowered(bench, x, nets.STATIC)
    residual = torch.randn(2, 40, WIDTH, requires_grad=True)
    linear_add(block.second, torch.randn(2, 40, INNER), residual).sum().backward()
    assert torch.equal(residual.grad, torch.ones_like(residual))


CONFIGS = {
    "float": {},
    "dynamic": dict.fromkeys(OPS, "dynamic"),
    "per token": dict.fromkeys(OPS, "per token"),
}


@pytest.mark.parametrize("kind", CONFIGS)
@torch.no_grad()
def test_other_configs_are_the_plain_calls(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int], kind: str
) -> None:
    """Bit by bit, in any mixture."""
    per_token = replace(nets.DYNAMIC, activation=QuantSpec("uint8", "sym", "per_token"))
    known = {"dynamic": nets.DYNAMIC, "per token": per_token}
    block = bench(Block(), x).lower(**{op: known[name] for op, name in CONFIGS[kind].items()})
    assert torch.equal(block(x), plain_of(block)(x))
    assert called == {}


@pytest.mark.parametrize("alone", ["up", "down"])
@torch.no_grad()
def test_one_op_in_float_beside_one_in_int8(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int], alone: str
) -> None:
    """Either may fall back by itself."""
    block = bench(Block(), x).lower((alone,))
    torch.testing.assert_close(block(x), plain_of(block)(x), rtol=1e-5, atol=1e-5)
    assert called == {"up": {"gelu": 1}, "down": {"linear_add": 1}}[alone]


RESIDUALS: dict[str, Callable[[torch.Tensor], Any]] = {
    "one row for all": lambda plain: plain[0, 0],
    "another layout": lambda plain: plain.transpose(0, 1).contiguous().transpose(0, 1),
    "double": lambda plain: plain.double(),
    "more axes": lambda plain: plain[None].contiguous(),
    "a number": lambda plain: 2.0,
}


@pytest.mark.parametrize("kind", RESIDUALS)
@torch.no_grad()
def test_residuals_that_the_kernel_would_misread_are_added_after_it(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int], kind: str
) -> None:
    """As torch adds them."""
    second = lowered(bench, x, nets.STATIC).second
    hidden = torch.randn(2, 40, INNER)
    residual = RESIDUALS[kind](torch.randn(2, 40, WIDTH))
    assert torch.equal(linear_add(second, hidden, residual), second(hidden) + residual)
    assert called == {}


@torch.no_grad()
def test_a_saturation_twin_makes_the_plain_calls(
    bench: Any, x: torch.Tensor, nets: Any, called: dict[str, int]
) -> None:
    """Its ops run no kernel, so none may run in their place."""
    twin = saturated_twin(lowered(bench, x, nets.STATIC))
    assert torch.equal(twin(x), plain_of(twin)(x))
    assert called == {}


# --- Copies and artefacts --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_copies_and_artefacts_are_fused_alike(
    bench: Any, x: torch.Tensor, config: Any, called: dict[str, int], tmp_path: Path
) -> None:
    """A deep copy, a pickle, a state dict and an artefact answer with the same bits by the same kernels."""
    subject = bench(Block(), x)
    block = subject.lower(**dict.fromkeys(OPS, config))
    wanted = block(x)
    subject.adapter.save(block, tmp_path)
    other = bench(Block(), 3 * x).lower(**dict.fromkeys(OPS, config))
    other.load_state_dict(block.state_dict())
    loaded = subject.adapter.load(tmp_path, model=Block())
    for again in (copy.deepcopy(block), pickle.loads(pickle.dumps(block)), other, loaded):  # noqa: S301 - our own
        called.clear()
        assert torch.equal(again(x), wanted)
        assert called == FUSED
