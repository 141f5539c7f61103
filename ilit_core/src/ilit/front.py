"""``front.json``: the recipes that met the criterion and that no other beats, so that their owner can choose anew.

Format version 1: one JSON object with ``version`` and ``members``, the fastest first. A member has

* ``number``: its trial;
* ``accuracy``: the metric's value;
* ``latency``, ``size``: seconds and bytes of a forward pass as a share of the float32 model's;
* ``seconds_int8``, ``seconds_float32``, ``bytes_int8``, ``bytes_float32``: the medians these are made of;
* ``digest``, ``ops_float``, ``recipe``: what every op runs in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilit.choice import relative_cost
from ilit.errors import RunError, one_line
from ilit.objective import MODEL_SIZE, PERFORMANCE
from ilit.recipe import Recipe
from ilit.result import TrialRecord

FRONT = "front.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class FrontMember:
    """One recipe of the Pareto front; the fields are those of the file.

    Attributes:
        number: its trial.
        accuracy: the metric's value.
        latency: seconds of a forward pass, as a share of the float32 model's from the same interleaved passes.
        size: bytes of parameters, buffers and packed weights, likewise.
        seconds_int8: median of the forward passes.
        seconds_float32: the same of the float32 model.
        bytes_int8: its size.
        bytes_float32: the same of the float32 model.
        recipe: what every op runs in.
    """

    number: int
    accuracy: float
    latency: float
    size: float
    seconds_int8: float
    seconds_float32: float
    bytes_int8: int
    bytes_float32: int
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
        number=record.number,
        accuracy=record.accuracy,
        latency=relative_cost(record, PERFORMANCE),
        size=relative_cost(record, MODEL_SIZE),
        seconds_int8=record.cost.seconds,
        seconds_float32=record.float_cost.seconds,
        bytes_int8=record.cost.bytes,
        bytes_float32=record.float_cost.bytes,
        recipe=record.recipe,
    )


def member_to_json(member: FrontMember) -> dict[str, Any]:
    """Return one entry of ``members``."""
    plain = {name: getattr(member, name) for name in FrontMember.__dataclass_fields__}
    recipe = member.recipe
    return {**plain, "digest": recipe.digest, "ops_float": list(recipe.float_ops), "recipe": recipe.to_json()}


def write_front(folder: Path, front: Sequence[FrontMember]) -> None:
    """Write ``front.json`` into a run folder: beside it first, then renamed, so that it is never half written.

    Raises:
        RunError: the disk does not take it.
    """
    data = {"version": FORMAT_VERSION, "members": [member_to_json(member) for member in front]}
    file, beside = folder / FRONT, folder / f".{FRONT}.new"
    try:
        with beside.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(data, indent=2, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
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
        if version != FORMAT_VERSION:
            raise RunError(
                f"{file}: format version {version!r}, this ilit reads {FORMAT_VERSION}; use the ilit that wrote it"
            )
        return tuple(_from_json(entry) for entry in data["members"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file}: is damaged ({one_line(error)}); restore it from a copy, or remove it") from error


def _from_json(data: Mapping[str, Any]) -> FrontMember:
    recipe = Recipe.from_json(data["recipe"])
    if recipe.digest != data["digest"]:
        raise ValueError(f"the recipe of trial {data['number']} has another digest")
    plain = {name: data[name] for name in FrontMember.__dataclass_fields__}
    return FrontMember(**{**plain, "recipe": recipe})
