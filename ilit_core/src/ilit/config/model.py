"""Values with parts of their own, such as limits for an op: what each holds, how it is read, written and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ilit.config.keys import collect
from ilit.config.readers import Reader, choice, choices, flag, one_or_more, share, text
from ilit.config.schema import Option, OptionTable
from ilit.config.tree import Node, entries, plain
from ilit.recipe import Approach

# --- Parts of plugins --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartSpec:
    """A part looked up by name among plugins, with its options.

    Attributes:
        name: as the plugin registered it.
        options: keyword arguments for it.
        value: the plain value or list in ``topk: 1``, its only positional argument; None where there is none.
        where: the place in the file, for errors.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    where: str = field(default="", compare=False)

    def sentence(self) -> str:
        """Return the name with its arguments: ``topk (1)``."""
        given = [*([] if self.value is None else [str(self.value)]), *(f"{k}={v}" for k, v in self.options.items())]
        return f"{self.name} ({', '.join(given)})" if given else self.name


def _is_bare(node: Node) -> bool:
    return node.kind == "scalar" or (node.kind == "list" and all(item.kind == "scalar" for item in node.data))


def _read_part(node: Node) -> PartSpec:
    """Read a bare name, or a mapping with ``name`` and options."""
    if _is_bare(node):
        return PartSpec(text(node), where=node.where)
    given = {entry.path[-1]: entry for entry in entries(node)}
    if "name" not in given:
        raise node.error("has no name; write 'name: ...' beside the options")
    name = text(given.pop("name"))
    return PartSpec(name, {key: plain(entry) for key, entry in given.items()}, where=node.where)


def _read_metric(node: Node) -> PartSpec:
    """Read a bare name, ``name: value``, ``name: {options}``, or a mapping with ``name`` and options."""
    given = [] if _is_bare(node) else list(entries(node))
    if _is_bare(node) or any(entry.path[-1] == "name" for entry in given):
        return _read_part(node)
    if len(given) != 1:
        names = ", ".join(entry.path[-1] for entry in given) or "none"
        raise node.error(f"takes exactly one metric, not {len(given)} ({names}); keep one")
    metric = given[0]
    if metric.kind == "mapping" or (metric.kind == "list" and any(item.kind == "mapping" for item in metric.data)):
        options = {entry.path[-1]: plain(entry) for entry in entries(metric)}
        return PartSpec(metric.path[-1], options, where=node.where)
    return PartSpec(metric.path[-1], value=plain(metric), where=node.where)


PART_TYPES = {"type": ["string", "object"]}
part = Reader(_read_part, PART_TYPES)
metric = Reader(_read_metric, PART_TYPES)


def write_part(spec: PartSpec) -> Any:
    """Return the plain value that ``part`` reads back to ``spec``."""
    return {"name": spec.name, **spec.options} if spec.options else spec.name


def write_metric(spec: PartSpec | None) -> Any:
    """Return the plain value that ``metric`` reads back to ``spec``; None for None."""
    if spec is None:
        return None
    if spec.value is not None:
        return {spec.name: spec.value}
    return {spec.name: dict(spec.options)} if spec.options else spec.name


# --- Limits of ops -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TensorLimits:
    """What the user allows for weights or activations; an empty tuple says nothing, so the defaults choose."""

    dtype: tuple[str, ...] = ()
    scheme: tuple[str, ...] = ()
    granularity: tuple[str, ...] = ()
    algorithm: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()

    def sentence(self) -> str:
        """Return the values allowed, such as ``int8 asym/sym 8/7 bits``; empty without limits."""
        bits = [f"{'/'.join(map(str, self.bits))} bits"] if self.bits else []
        leaves = (self.dtype, self.scheme, self.granularity, self.algorithm)
        return " ".join([*("/".join(values) for values in leaves if values), *bits])


@dataclass(frozen=True)
class OpLimits:
    """What the user allows for the ops that ``pattern`` matches, or for the whole model where it is empty.

    ``dtype`` is ``int8``, ``bfloat16`` or ``float32`` of the op as a whole; what is empty says nothing, so that an op
    takes the model's limits there. ``where`` is the place in the file, for errors.
    """

    pattern: str = ""
    dtype: tuple[str, ...] = ()
    approach: tuple[Approach, ...] = ()
    weight: TensorLimits = TensorLimits()
    activation: TensorLimits = TensorLimits()
    where: str = field(default="", compare=False)

    def sentence(self) -> str:
        """Return the values allowed, such as ``static; weight int8``; empty without limits."""
        tensors = (("weight", self.weight.sentence()), ("activation", self.activation.sentence()))
        return "; ".join([*self.dtype, *self.approach, *(f"{name} {said}" for name, said in tensors if said)])


APPROACHES: dict[str, tuple[Approach, ...]] = {
    "post_training_static_quant": ("static",),
    "post_training_dynamic_quant": ("dynamic",),
    "auto": ("static", "dynamic", "weight_only"),
}
_FLOATS = {"float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}
_GRANULARITIES = {"per_tensor": "per_tensor", "per_channel": "per_channel"}
_WEIGHT: dict[str, Reader[Any]] = {
    "dtype": choices({"int8": "int8", "uint8": "uint8", **_FLOATS}),
    "scheme": choices({"sym": "sym", "asym": "asym"}),
    "granularity": choices(_GRANULARITIES),
    "algorithm": choices({name: name for name in ("minmax", "kl", "percentile", "mse")}),
    "bits": choices({"8": 8, "7": 7}),
}
TENSOR_READERS = {
    "weight": _WEIGHT,
    "activation": {**_WEIGHT, "granularity": choices({**_GRANULARITIES, "per_token": "per_token"})},
}


def write_approach(approach: tuple[Approach, ...]) -> str | None:
    """Return the word for ``approach``, None where it has none."""
    return next((word for word, meant in APPROACHES.items() if meant == approach), None)


OP_OPTIONS = OptionTable(
    OpLimits,
    (
        Option("dtype", choices({"int8": "int8", **_FLOATS}), ("dtype",)),
        Option("approach", choice(APPROACHES), ("approach",), write_approach),
        *(
            Option(f"{tensor}.{leaf}", reader, (f"{tensor}.{leaf}",))
            for tensor, readers in TENSOR_READERS.items()
            for leaf, reader in readers.items()
        ),
    ),
)


def _read_ops(node: Node) -> tuple[OpLimits, ...]:
    """Read op name or glob -> limits."""
    limits = []
    for entry in entries(node):
        found = collect(entry, OP_OPTIONS)
        if not found:
            raise entry.error("says nothing about the op; write 'dtype: float32' or other limits under it")
        values = {key: parsed.value for key, parsed in found.items()}
        limits.append(OP_OPTIONS.fill(values, OpLimits(entry.path[-1], where=entry.where)))
    return tuple(limits)


ops = Reader(
    _read_ops,
    {
        "type": "object",
        "additionalProperties": {"properties": {option.key: option.reader.accepts for option in OP_OPTIONS.options}},
    },
)


def write_ops(limits: tuple[OpLimits, ...]) -> dict[str, Any] | None:
    """Return the plain value that ``ops`` reads back to ``limits``; None where there are none."""
    return {entry.pattern: OP_OPTIONS.plain(entry) for entry in limits} or None


# --- Transforms --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TransformLimits:
    """What the search may use beside plain quantization; None says nothing, so what the adapter offers is allowed.

    Attributes:
        smooth: strengths of SmoothQuant, each above 0 to 1, tried beside none at all; empty forbids it.
        bias_correction: False forbids it.
        per_token: False forbids activations with one scale per token.
        where: the place in the file, for errors.
    """

    smooth: tuple[float, ...] | None = None
    bias_correction: bool | None = None
    per_token: bool | None = None
    where: str = field(default="", compare=False)

    def sentence(self) -> str:
        """Return the state of each transform: allowed, forbidden, or as offered."""
        strengths = "/".join(f"{alpha:g}" for alpha in self.smooth or ())
        smooth = "as offered" if self.smooth is None else f"of {strengths}" if strengths else "forbidden"
        allowed = {None: "as offered", True: "allowed", False: "forbidden"}
        return (
            f"smoothing {smooth}; bias correction {allowed[self.bias_correction]}; "
            f"activations per token {allowed[self.per_token]}"
        )


_STRENGTHS = one_or_more(share(0, 1, "0.7 or [0.7, 0.9], or none", above=True))


def _read_smooth(node: Node) -> tuple[float, ...]:
    """Read strengths of SmoothQuant, ``none`` or ``false``; none of them is an empty tuple."""
    if node.kind == "scalar" and (node.data is False or node.data == "none"):
        return ()
    return _STRENGTHS(node)


def _write_smooth(strengths: tuple[float, ...] | None) -> Any:
    return None if strengths is None else list(strengths) or "none"


TRANSFORM_OPTIONS = OptionTable(
    TransformLimits,
    (
        Option(
            "smooth",
            Reader(_read_smooth, {"anyOf": [{"enum": ["none", False]}, _STRENGTHS.accepts]}),
            ("smooth",),
            _write_smooth,
            help="strengths of SmoothQuant, each above 0 to 1, a number or a list; `none` or `false` forbids it",
            page="transforms",
        ),
        Option("bias_correction", flag, ("bias_correction",), help="`true`, `false`", page="transforms"),
        Option(
            "per_token",
            flag,
            ("per_token",),
            help="`true`, `false`: activations with one scale per token, taken at run time",
            page="transforms",
        ),
    ),
)


def _read_transforms(node: Node) -> TransformLimits:
    """Read a mapping of transforms, or the word ``none``, which forbids them all."""
    word = node.data[0] if node.kind == "list" and len(node.data) == 1 else node
    if word.kind == "scalar" and word.data == "none":
        return TransformLimits((), bias_correction=False, per_token=False, where=node.where)
    if word.kind == "scalar" and word.data is not None:
        known = ", ".join(TRANSFORM_OPTIONS.by_key)
        raise node.error(f"{word} is unknown; write none, or a mapping of {known}")
    values = {key: parsed.value for key, parsed in collect(node, TRANSFORM_OPTIONS).items()}
    return TRANSFORM_OPTIONS.fill(values, TransformLimits(where=node.where))


transforms = Reader(
    _read_transforms,
    {
        "anyOf": [
            {"enum": ["none"]},
            {
                "type": "object",
                "properties": {option.key: option.reader.accepts for option in TRANSFORM_OPTIONS.options},
            },
        ]
    },
)


def write_transforms(limits: TransformLimits) -> dict[str, Any] | None:
    """Return the plain value that ``transforms`` reads back to ``limits``; None where they are empty."""
    return TRANSFORM_OPTIONS.plain(limits) or None
