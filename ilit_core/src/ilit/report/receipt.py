"""The kernel receipt beside a saved model: which INT8 kernels really ran in one batch, in a file and in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ilit.adapter import KernelCalls, KernelProfile
from ilit.errors import ArtefactError, one_line
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.run.records import Probed
from ilit.strategy import OpSpeedOutcome

RECEIPT = "receipt.json"
FORMAT_VERSION = 1
MOST_NAMED = 4
SLOWER = 0.95  # timings of single ops are noisy


@dataclass(frozen=True)
class Receipt:
    """What ran in one forward pass of a saved model.

    Attributes:
        profile: the kernels.
        int8_kernels: INT8 kernels that the lowered model says a pass runs, one for each op; several ops may share one.
        slower: INT8 op -> its seconds in float32 over those in INT8, below 0.95; of ops that the search has timed.
    """

    profile: KernelProfile
    int8_kernels: int
    slower: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The receipt in one line: ``36 INT8 kernels ran in one batch, 71 % of its time``."""
        profile = self.profile
        many = "1 INT8 kernel" if profile.int8_calls == 1 else f"{profile.int8_calls} INT8 kernels"
        parts = [f"{many} ran in one batch, {profile.int8_share * 100:.0f} % of its time"]
        if profile.ops_without:
            parts.append(f"none for {_few(profile.ops_without)}")
        if self.slower:
            ops = [f"{op} ({speedup:.2f} times as fast)" for op, speedup in self.slower.items()]
            parts.append(f"slower than in float32: {_few(ops)}")
        return "; ".join(parts)

    @property
    def doubt(self) -> str:
        """A warning where no INT8 kernel ran, or none of some INT8 op; else empty."""
        without = self.profile.ops_without
        if self.int8_kernels and not self.profile.int8_calls:
            return f"no INT8 kernel ran in one batch, though {self.int8_kernels} should; see {RECEIPT} for what did"
        if not without:
            return ""
        return (
            f"no INT8 kernel ran in one batch for {_few(without)}: this batch does not reach them, or they compute in "
            f"float; see {RECEIPT} for what ran"
        )


def slower_ops(probes: Iterable[Probed], trials: Iterable[TrialRecord], recipe: Recipe) -> dict[str, float]:
    """Return the INT8 ops of a recipe that the search has timed as slower than in float32, with their speed-ups.

    A timing counts where the op had the same config in the recipe that was probed, which is known of trials' recipes.
    """
    recipes = {trial.recipe.digest: trial.recipe for trial in trials} | {recipe.digest: recipe}
    known: dict[str, float] = {}
    for probe in probes:
        probed = recipes.get(probe.digest)
        if probed is not None and isinstance(probe.outcome, OpSpeedOutcome):
            same = (name for name in recipe.quantized_ops if recipe.ops[name] == probed.ops.get(name))
            known |= {name: probe.outcome.speedups[name] for name in same if name in probe.outcome.speedups}
    return {name: known[name] for name in recipe.quantized_ops if known.get(name, 1.0) < SLOWER}


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write ``receipt.json``: format version 1, plain values, units in the names."""
    profile = receipt.profile
    data = {
        "version": FORMAT_VERSION,
        "int8_kernels": receipt.int8_kernels,
        "int8_kernels_ran": profile.int8_calls,
        "int8_share": profile.int8_share,
        "seconds": profile.seconds,
        "ops_without": list(profile.ops_without),
        "ops_slower": dict(receipt.slower),
        "int8": [asdict(row) for row in profile.int8],
        "others": [asdict(row) for row in profile.others],
    }
    (folder / RECEIPT).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read_receipt(folder: Path) -> Receipt | None:
    """Read the receipt beside a saved model; None where there is none, as of an adapter that cannot tell.

    Raises:
        ArtefactError: the file is damaged, or of a version that is not known here.
    """
    file = folder / RECEIPT
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["version"] != FORMAT_VERSION:
            raise ArtefactError(
                f"{file}: format version {data['version']!r}, here {FORMAT_VERSION} is read; use the ilit that wrote it"
            )
        profile = KernelProfile(_rows(data["int8"]), _rows(data["others"]), tuple(data["ops_without"]))
        return Receipt(profile, data["int8_kernels"], dict(data["ops_slower"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{file}: is damaged ({one_line(error)}); remove it, the model does without") from error


def _rows(entries: Iterable[Mapping[str, Any]]) -> tuple[KernelCalls, ...]:
    return tuple(KernelCalls(**{**entry, "ops": tuple(entry["ops"])}) for entry in entries)


def _few(names: Iterable[str]) -> str:
    """Return the first names, and the number of those left out."""
    known = [name or "the model itself" for name in names]
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return ", ".join(known[:MOST_NAMED]) + more
