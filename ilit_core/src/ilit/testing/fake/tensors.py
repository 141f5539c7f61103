"""``.safetensors`` files with numpy alone, so that the fake adapter needs no further package.

Layout: eight bytes, the header's length as a little-endian integer; the header, a JSON object of name ->
``{"dtype", "shape", "data_offsets"}``; then the tensors' bytes, row by row, little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def write_tensors(file: Path, tensors: Mapping[str, Array]) -> None:
    """Write float32 arrays by name."""
    header, offset, chunks = {}, 0, []
    for name, array in tensors.items():
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    file.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *chunks]))


def read_tensors(file: Path) -> dict[str, Array]:
    """Read what ``write_tensors`` wrote, in the same order.

    Raises:
        ValueError: the file is no safetensors file, is cut off, or holds another dtype.
    """
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    body, tensors = data[8 + size :], {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] != "F32" or end > len(body):
            raise ValueError(f"{file}: tensor {name!r} is cut off or not float32")
        tensors[name] = np.frombuffer(body[begin:end], dtype="<f4").reshape(entry["shape"]).astype(np.float32)
    return tensors
