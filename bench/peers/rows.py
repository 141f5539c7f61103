"""Write the rows that all three tools are given, as ilit-bert's loaders batch them, to one ``.npz``.

Runs in ilit's environment. Neural Compressor and NNCF read the file, so that they see the very batches, in the same
order; ``tune_ilit.py`` makes them anew and compares digests.
"""

from __future__ import annotations

import sys
from pathlib import Path

import race


def main() -> None:
    arguments = race.parser(__doc__.split("\n")[0]).parse_args()
    task = race.task_of(arguments)
    import numpy as np
    from tune_ilit import load

    _, loaders, _ = load(task)
    arrays = {}
    for split, loader in loaders.items():
        for number, (inputs, labels) in enumerate(loader):
            for name, value in {**inputs, "labels": labels}.items():
                arrays[f"{split}.{number}.{name}"] = value.numpy()
    np.savez(task.rows, **arrays)
    print(Path(task.rows).name, len(arrays), "arrays", file=sys.stderr)


if __name__ == "__main__":
    main()
