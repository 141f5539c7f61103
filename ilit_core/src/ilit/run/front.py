"""``front.json``: the Pareto front of the accepted recipes, so that their owner can choose anew.

An accepted recipe met the criterion without an objection of the objective's; on the front no other accepted one is at
least as good in accuracy, latency and size and better in one of them.

Format version 2: one JSON object with ``version`` and ``members``, the fastest first. A member has

* ``trial``: the trial's number;
* ``accuracy``: the metric's value;
* ``relative_latency``, ``relative_size``: time of a forward pass and size as a share of the float32 model's; null
  for an infinite share, of a float32 figure of 0;
* ``latency_int8_ms``, ``latency_fp32_ms``, ``size_int8_bytes``, ``size_fp32_bytes``: the medians these are made of;
* ``digest``, ``ops_float``, ``recipe``: what every op runs in.

Version 1, with other names and times in seconds, is read as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilit.errors import RunError, one_line
from ilit.objective import MODEL_SIZE, PERFORMANCE
from ilit.recipe import Recipe
from ilit.result import TrialRecord, relative_cost
from ilit.run.folder import move_into_place

FRONT = "front.json"
FORMAT_VERSION = 2
_SHARES = ("relative_latency", "relative_size")
# Present name of a figure -> its name in version 1, and the factor to the present unit.
_VERSION_1 = {
    "trial": ("number", 1),
    "relative_latency": ("latency", 1),
    "relative_size": ("size", 1),
    "latency_int8_ms": ("seconds_int8", 1e3),
    "latency_fp32_ms": ("seconds_float32", 1e3),
    "size_int8_bytes": ("bytes_int8", 1),
    "size_fp32_bytes": ("bytes_float32", 1),
}


@dataclass(frozen=True)
class FrontMember:
    """One recipe of the Pareto front; the fields are those of the file.

    Attributes:
        trial: the trial's number.
        accuracy: the metric's value.
        relative_latency: time of a forward pass, as a share of the float32 model's from the same interleaved passes.
        relative_size: size of parameters, buffers and packed weights, likewise.
        latency_int8_ms: median of the forward passes.
        latency_fp32_ms: the same of the float32 model.
        size_int8_bytes: its size.
        size_fp32_bytes: the same of the float32 model.
        recipe: what every op runs in.
    """

    trial: int
    accuracy: float
    relative_latency: float
    relative_size: float
    latency_int8_ms: float
    latency_fp32_ms: float
    size_int8_bytes: int
    size_fp32_bytes: int
    recipe: Recipe


def members(records: Iterable[TrialRecord]) -> tuple[FrontMember, ...]:
    """Return the members of a front made of these records.

    Raises:
        ValueError: a record has no accuracy or no measured cost, so it never passed.
    """
    return tuple(_member(record) for record in records)


def _member(record: TrialRecord) -> FrontMember:
    if record.accuracy is None or record.cost is None or record.float_cost is None:
        raise ValueError(f"trial {record.number} cannot be on the front: its status is {record.status}")
    return FrontMember(
        trial=record.number,
        accuracy=record.accuracy,
        relative_latency=relative_cost(record, PERFORMANCE),
        relative_size=relative_cost(record, MODEL_SIZE),
        latency_int8_ms=record.cost.seconds * 1e3,
        latency_fp32_ms=record.float_cost.seconds * 1e3,
        size_int8_bytes=record.cost.bytes,
        size_fp32_bytes=record.float_cost.bytes,
        recipe=record.recipe,
    )


def member_to_json(member: FrontMember) -> dict[str, Any]:
    """Return one entry of ``members``."""
    plain = {name: getattr(member, name) for name in FrontMember.__dataclass_fields__}
    shares = {name: plain[name] if math.isfinite(plain[name]) else None for name in _SHARES}
    recipe = member.recipe
    return {**plain, **shares, "digest": recipe.digest, "ops_float": list(recipe.float_ops), "recipe": recipe.to_json()}


def write_front(folder: Path, front: Sequence[FrontMember]) -> None:
    """Write ``front.json`` into a run folder, whole or not at all.

    Raises:
        RunError: the disk does not take it.
    """
    data = {"version": FORMAT_VERSION, "members": [member_to_json(member) for member in front]}
    file, beside = folder / FRONT, folder / f".{FRONT}.new"
    try:
        beside.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        move_into_place(beside, file)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror}); free some space") from error


def read_front(folder: Path) -> tuple[FrontMember, ...]:
    """Read a run folder's front; empty where the run has not ended, or ended before there were fronts.

    Raises:
        RunError: the file is damaged or of a newer format version.
    """
    file = folder / FRONT
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        version = data["version"]
        if version not in (1, FORMAT_VERSION):
            raise RunError(
                f"{file}: format version {version!r}, this ilit reads {FORMAT_VERSION}; use the ilit that wrote it"
            )
        entries = map(_from_version_1, data["members"]) if version == 1 else data["members"]
        return tuple(_from_json(entry) for entry in entries)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file}: is damaged ({one_line(error)}); restore it from a copy, or remove it") from error


def _from_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of version 1 by its present names and units."""
    return {**data, **{name: data[old] * factor for name, (old, factor) in _VERSION_1.items()}}


def _from_json(data: Mapping[str, Any]) -> FrontMember:
    recipe = Recipe.from_json(data["recipe"])
    if recipe.digest != data["digest"]:
        raise ValueError(f"the recipe of trial {data['trial']} has another digest")
    plain = {name: data[name] for name in FrontMember.__dataclass_fields__}
    shares = {name: math.inf if plain[name] is None else plain[name] for name in _SHARES}
    return FrontMember(**{**plain, **shares, "recipe": recipe})
