"""Loading of a tuned model, by the adapter that its ``recipe.json`` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilit.errors import ArtefactError
from ilit.plugins.registry import installed_plugins

RECIPE = "recipe.json"


def load(folder: str | Path, model: Any = None) -> Any:
    """Return a tuned model, ready to use, from ``best/`` or ``closest/`` of a run or wherever it was moved to.

    Args:
        folder: holds ``recipe.json`` and ``model.safetensors``.
        model: the float model it was tuned from; needed only where no installed plugin can build its architecture.

    Raises:
        ArtefactError: no tuned model is there, or it is damaged.
        PluginError: the adapter it needs is not installed.
    """
    folder = Path(folder)
    return installed_plugins().adapter(_adapter_name(folder))().load(folder, model=model)


def _adapter_name(folder: Path) -> str:
    file = folder / RECIPE
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["adapter"]
    except OSError as error:
        raise ArtefactError(
            f"{file}: cannot be read ({error.strerror}); give the folder of a tuned model, such as best/ of a run"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{file}: names no adapter, so it is damaged or not ilit's; tune again") from error
    if not isinstance(name, str):
        raise ArtefactError(f"{file}: names no adapter, so it is damaged or not ilit's; tune again")
    return name
