"""What loading a model takes, each time in a fresh process: seconds, and resident memory beside before.

In a process that has loaded another model, memory which that one gave back would be taken first and not be counted.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ilit.errors import ModelError

Form = Literal["fp32", "int8"]
STATUS = Path("/proc/self/status")
PASS_LENGTH, LOOKED_UP = 8, 256


@dataclass(frozen=True)
class LoadCost:
    """The cost of loading a model, running it once on one row of 8 tokens, and looking up every token once.

    Weights may be mapped: they become resident when they are first read. So all of them are used before it is measured.

    Attributes:
        seconds: wall time of loading alone; imports are done before.
        resident_bytes: resident memory at the end less that before loading; None where the system has no ``/proc``.
        peak_bytes: the most that was resident on the way, likewise.
    """

    seconds: float
    resident_bytes: int | None
    peak_bytes: int | None


def load_costs(sources: Mapping[Form, str], times: int, threads: int) -> dict[Form, LoadCost]:
    """Return the median of each figure over ``times`` processes, one model after the other in turns.

    Args:
        sources: what form of model -> where it lies; files are read once before, so that the page cache is warm.
        times: processes for each, at least 1.
        threads: of each process.

    Raises:
        ModelError: a process failed; its last line is in the text.
    """
    for source in sources.values():
        _warm(Path(source))
    found: dict[Form, list[LoadCost]] = {form: [] for form in sources}
    for _ in range(times):
        for form, source in sources.items():
            found[form].append(_in_fresh_process(form, source, threads))
    return {form: _median(costs) for form, costs in found.items()}


def _warm(folder: Path) -> None:
    for file in sorted(folder.glob("*.safetensors")):  # none where it is an id on the hub
        with file.open("rb") as stream:
            while stream.read(1 << 24):
                pass


def _in_fresh_process(form: Form, source: str, threads: int) -> LoadCost:
    command = [sys.executable, "-m", __name__, form, source, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this module itself
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{source}: cannot be loaded in a fresh process ({last}); free some memory, or give --loads 0")
    return LoadCost(**json.loads(done.stdout.splitlines()[-1]))


def _median(costs: list[LoadCost]) -> LoadCost:
    seconds, resident, peak = ([getattr(cost, field.name) for cost in costs] for field in fields(LoadCost))
    known = None not in resident + peak
    return LoadCost(
        statistics.median(seconds),
        int(statistics.median(resident)) if known else None,
        int(statistics.median(peak)) if known else None,
    )


def measure(form: Form, source: str, threads: int) -> LoadCost:
    """Load the model in this process, which should be fresh, and return the cost."""
    import torch

    import ilit
    from ilit_bert.checkpoints.loading import class_of, load_plain
    from ilit_pytorch import PyTorchAdapter

    torch.set_num_threads(threads)
    PyTorchAdapter().cpu()  # what both forms import, and what ilit asks the CPU once, is no part of the model
    class_of(source)
    before, begun = _status("VmRSS"), time.perf_counter()
    model: Any = load_plain(source) if form == "fp32" else ilit.load(source)
    seconds = time.perf_counter() - begun
    gc.collect()
    with torch.no_grad():
        model(input_ids=torch.ones(1, PASS_LENGTH, dtype=torch.int64))
        for first in range(0, model.config.vocab_size, LOOKED_UP):
            model.get_input_embeddings()(torch.arange(first, min(first + LOOKED_UP, model.config.vocab_size)))
    return LoadCost(seconds, _less(_status("VmRSS"), before), _less(_status("VmHWM"), before))


def _status(key: str) -> int | None:
    """Return a figure of this process in bytes; None where the system does not tell."""
    # Not getrusage: its peak is inherited from the process that started this one.
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def _less(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


if __name__ == "__main__":
    told = measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))  # type: ignore[arg-type] # given by _in_fresh_process
    sys.stdout.write(f"\n{json.dumps(asdict(told))}\n")
