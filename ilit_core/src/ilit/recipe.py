"""What one candidate INT8 model is made of: ``QuantSpec``, ``OpConfig`` and ``Recipe``, all frozen values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["FLOAT32", "Algorithm", "Approach", "Granularity", "OpConfig", "QuantSpec", "Recipe", "Scalar", "Scheme"]

Scheme = Literal["sym", "asym"]
Granularity = Literal["per_tensor", "per_channel", "per_token"]
Algorithm = Literal["minmax", "kl", "percentile", "mse"]
Approach = Literal["static", "dynamic", "weight_only"]
Scalar = str | int | float | bool


@dataclass(frozen=True)
class QuantSpec:
    """How one tensor becomes integer codes: ``code = round(value / scale) + zero_point``.

    Attributes:
        dtype: ``int8`` or ``uint8``, the dtype the codes are stored in.
        scheme: ``sym`` has its zero point in the middle of the codes, ``asym`` anywhere.
        granularity: one scale for the tensor, per output channel, or per token (last axis excluded).
        algorithm: how the clipping range is chosen from the observed values.
        bits: codes really used: 8, or 7 where the CPU's arithmetic saturates (uint8 then stays in 0..127,
            int8 in -63..63).
    """

    dtype: str = "int8"
    scheme: Scheme = "sym"
    granularity: Granularity = "per_tensor"
    algorithm: Algorithm = "minmax"
    bits: int = 8

    def __str__(self) -> str:
        return f"{self.dtype}:{self.bits} {self.scheme} {self.granularity} {self.algorithm}"


@dataclass(frozen=True)
class OpConfig:
    """What one op runs in.

    ``float32`` and ``bfloat16`` have neither approach nor specs. In ``int8`` a ``static`` op has a weight and an
    activation spec with ranges from calibration, a ``dynamic`` op takes the activation's range at run time, and
    a ``weight_only`` op has no activation spec.

    ``smoothing`` is the strength alpha of SmoothQuant (Xiao et al. 2023, equation 4) for the op's input: 0 leaves it
    as it is, 1 moves the whole spread of its channels into the weight. The ops of one ``Op.group`` share the input.
    """

    dtype: Literal["int8", "float32", "bfloat16"] = "float32"
    approach: Approach | None = None
    weight: QuantSpec | None = None
    activation: QuantSpec | None = None
    smoothing: float = 0.0

    @property
    def quantized(self) -> bool:
        """True where the op runs in INT8."""
        return self.dtype == "int8"

    def __str__(self) -> str:
        if not self.quantized:
            return self.dtype
        smoothed = f" smoothing {self.smoothing:g}" if self.smoothing else ""
        return f"{self.approach} [weight {self.weight}] [activation {self.activation}]{smoothed}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal value; absent parts are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None and value != 0.0}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OpConfig:
        """Read what ``to_json`` wrote.

        Raises:
            TypeError: an unknown key, so that a newer format is never half read.
        """
        specs = {key: QuantSpec(**data[key]) for key in ("weight", "activation") if key in data}
        return cls(**{**data, **specs})


FLOAT32 = OpConfig()


@dataclass(frozen=True)
class Recipe:
    """One point of the search space: every op's ``OpConfig`` and the model-wide choices.

    Attributes:
        ops: op name -> ``OpConfig``, in the model's order; read-only. Two recipes are equal when their canonical
            JSON is, whatever the order.
        calibration: which of ``SearchSpace.calibrations`` the static ranges come from; empty where there is none.
        transforms: model-wide transforms, name -> plain value; read-only.
    """

    ops: Mapping[str, OpConfig] = field(default_factory=dict)
    calibration: str = ""
    transforms: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ops", MappingProxyType(dict(self.ops)))
        object.__setattr__(self, "transforms", MappingProxyType(dict(self.transforms)))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, format version 1."""
        return {
            "version": 1,
            "calibration": self.calibration,
            "transforms": dict(self.transforms),
            "ops": {name: config.to_json() for name, config in self.ops.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: the format version is not 1.
        """
        if data.get("version") != 1:
            raise ValueError(f"recipe format version {data.get('version')!r} is not 1, the one this ilit reads")
        ops = {name: OpConfig.from_json(config) for name, config in data["ops"].items()}
        return cls(ops, data["calibration"], data["transforms"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (keys sorted, no spaces), 64 hex digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipe, (dict(self.ops), self.calibration, dict(self.transforms))

    @property
    def float_ops(self) -> tuple[str, ...]:
        """Names of the ops that do not run in INT8, in the model's order."""
        return tuple(name for name, config in self.ops.items() if not config.quantized)

    @property
    def quantized_ops(self) -> tuple[str, ...]:
        """Names of the ops that run in INT8, in the model's order."""
        return tuple(name for name, config in self.ops.items() if config.quantized)

    def with_ops(self, changes: Mapping[str, OpConfig]) -> Recipe:
        """Return a recipe that differs in the named ops.

        Raises:
            KeyError: a name the recipe does not have.
        """
        unknown = sorted(set(changes) - set(self.ops))
        if unknown:
            raise KeyError(f"the recipe has no op {unknown[0]!r}")
        return Recipe({**self.ops, **changes}, self.calibration, self.transforms)

    def in_float(self, names: Iterable[str]) -> Recipe:
        """Return a recipe with the named ops in float32."""
        return self.with_ops(dict.fromkeys(names, FLOAT32))
