"""The way back from a ``Config`` to YAML, every default filled in."""

from __future__ import annotations

from typing import Any

import yaml

from ilit.config.options import OPTIONS, Config
from ilit.config.schema import OptionTable


def resolved(config: Config, table: OptionTable[Any] = OPTIONS) -> dict[str, Any]:
    """Return the configuration with every default filled in, as the mapping that reads back to an equal ``Config``."""
    return table.plain(config)


def resolved_yaml(config: Config, table: OptionTable[Any] = OPTIONS) -> str:
    """Return ``resolved`` as YAML text."""
    return yaml.safe_dump(resolved(config, table), sort_keys=False, allow_unicode=True, width=110)
