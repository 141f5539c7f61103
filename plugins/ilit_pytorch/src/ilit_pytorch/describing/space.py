"""From a model's structure and the CPU to the search space: every ``OpConfig`` that is safe, preferred first."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from ilit.errors import ModelError
from ilit.recipe import FLOAT32, Algorithm, OpConfig, QuantSpec, Scheme
from ilit.space import Op, SearchSpace
from ilit_pytorch.engine import cpu
from ilit_pytorch.lowering.op import BIAS_CORRECTION
from ilit_pytorch.model.clone import submodule
from ilit_pytorch.model.structure import OpSite, Structure
from ilit_pytorch.model.weights import in_features, is_transposed
from ilit_pytorch.quantization.qparams import max_activation_code, max_weight_code
from ilit_pytorch.tracing.ops import inner_op

_log = logging.getLogger("ilit.pytorch")

ALGORITHMS: tuple[Algorithm, ...] = ("minmax", "kl", "percentile", "mse")
SCHEMES: tuple[Scheme, ...] = ("asym", "sym")
STRENGTHS = (0.6, 0.8, 1.0)  # of SmoothQuant; what is best differs from input to input
BITS = ((8, 8), (7, 8), (8, 7), (7, 7))  # (weight, activation); on class A 7-bit weights lose less than activations


INT32_MAX = 2**31 - 1
"""What a sum of products may reach: the kernels sum them, and what the zero point takes off again, in 32 bits."""


def describe(model: Any, structure: Structure) -> SearchSpace:
    """Return every op of the model with every ``OpConfig`` that the CPU runs without saturating.

    Raises:
        ModelError: nothing in the model can be quantized.
    """
    for stub in structure.escaping_stubs:
        _log.warning("%s: what this QuantStub gives also goes to something that cannot read codes; ignored", stub)
    saturates, bfloat16 = cpu.int8_class() == "A", cpu.has_bfloat16()
    ops, left = {}, dict(structure.left)
    for name, site in structure.sites.items():
        terms = _terms(model, name)
        found = candidates(site, saturates, bfloat16, terms)
        if any(config.quantized for config in found):
            ops[name] = Op(name, site.kind, found, site.source)
        else:
            left[name] = f"its sums of {terms} products do not fit into the 32 bits of the INT8 kernels"
    if not ops:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in itertools.islice(left.items(), 1))
        raise ModelError(
            f"{type(model).__name__} has nothing to quantize: "
            + (reasons or "its forward calls no float32 Linear, Conv1d, Conv2d, Conv3d or Embedding module")
        )
    corrected = {BIAS_CORRECTION: (True, False)} if any(_corrects(structure.sites[name]) for name in ops) else {}
    return SearchSpace(ops, transforms=corrected, left_in_float=left)


def _terms(model: Any, name: str) -> int:
    """Return the number of products, of an activation's and a weight's code, in one value of an op's output."""
    op = inner_op(submodule(model, name))
    if is_transposed(op):
        return in_features(op)
    weight = op._parameters.get("weight")  # noqa: SLF001 - reading a computed one would compute it
    if weight is not None:
        return int(weight.numel() // max(1, weight.shape[0]))
    if isinstance(op, torch.nn.Linear | torch.nn.Embedding):
        return int(getattr(op, "in_features", 1))
    return int(op.in_channels // op.groups * math.prod(op.kernel_size))


def _corrects(site: OpSite) -> bool:
    """Whether the op's bias can be corrected: in islands torch's modules make the codes, embeddings have no bias."""
    return site.island < 0 and site.kind != "embedding"


def candidates(site: OpSite, saturates: bool, bfloat16: bool = False, terms: int = 1) -> tuple[OpConfig, ...]:
    """Return the configs an op may run in, float32 last.

    Args:
        site: where the op stands.
        saturates: leave out what overflows 16 bits (CPU class A).
        bfloat16: offer that too.
        terms: products in one sum; leave out what overflows 32 bits.
    """
    if site.kind == "embedding":
        return (*_weight_only(), FLOAT32)
    static = list(_configs("static", ALGORITHMS, _safe_bits(saturates, terms, in_island=site.island >= 0)))
    if site.kind != "linear":
        return (*static, FLOAT32)
    smoothed = [
        replace(config, smoothing=strength)
        for strength in STRENGTHS
        for config in static
        if site.island < 0 and config.activation is not None and config.activation.algorithm == "minmax"
    ]
    outside = _safe_bits(saturates, terms, in_island=False)
    dynamic = _configs("dynamic", ("minmax",), outside)
    half = (OpConfig("bfloat16"),) if bfloat16 and site.island < 0 else ()
    return (*static, *smoothed, *dynamic, *_per_token(outside), *half, FLOAT32)


def _safe_bits(saturates: bool, terms: int, in_island: bool) -> list[tuple[int, int]]:
    """Return (weight bits, activation bits). torch's quantized modules clamp activations at 255 whatever the bits."""

    def safe(weight: int, activation: int) -> bool:
        largest, heaviest = max_activation_code(8 if in_island else activation), max_weight_code(weight)
        return largest * heaviest * terms <= INT32_MAX and (not saturates or cpu.is_safe(largest, heaviest))

    return [bits for bits in BITS if safe(*bits) and not (in_island and bits[1] != 8)]


def _configs(approach: Any, algorithms: tuple[Algorithm, ...], bits: list[tuple[int, int]]) -> Iterator[OpConfig]:
    for algorithm, scheme, (weight_bits, bits_used) in itertools.product(algorithms, SCHEMES, bits):
        activation = QuantSpec("uint8", scheme, "per_tensor", algorithm, bits_used)
        for weight in _weight_specs(weight_bits):
            yield OpConfig("int8", approach, weight, activation)


def _per_token(bits: list[tuple[int, int]]) -> Iterator[OpConfig]:
    """One scale per token, found at run time; symmetric, since the kernel takes one zero point."""
    for weight_bits, activation_bits in bits:
        activation = QuantSpec("uint8", "sym", "per_token", "minmax", activation_bits)
        for weight in _weight_specs(weight_bits):
            yield OpConfig("int8", "dynamic", weight, activation)


def _weight_specs(bits: int) -> Iterator[QuantSpec]:
    yield from (QuantSpec("int8", "sym", "per_channel", algorithm, bits) for algorithm in ALGORITHMS)
    yield from (QuantSpec("int8", "sym", "per_tensor", algorithm, bits) for algorithm in ALGORITHMS)


def _weight_only() -> Iterator[OpConfig]:
    """Embeddings are looked up and dequantized, so nothing saturates; a row is their channel."""
    for bits in (8, 7):
        yield from (OpConfig("int8", "weight_only", weight) for weight in _weight_specs(bits))
