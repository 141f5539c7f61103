"""Configurations: what one may say, how it is read, and how it is written with every default filled in."""

from __future__ import annotations

from ilit.config.dump import resolved, resolved_yaml
from ilit.config.model import Config, OpLimits, PartSpec, TensorLimits, TransformLimits
from ilit.config.schema import read_config
from ilit.config.tree import Node, entries, from_python, from_yaml

__all__ = [
    "Config",
    "Node",
    "OpLimits",
    "PartSpec",
    "TensorLimits",
    "TransformLimits",
    "entries",
    "from_python",
    "from_yaml",
    "read_config",
    "resolved",
    "resolved_yaml",
]
