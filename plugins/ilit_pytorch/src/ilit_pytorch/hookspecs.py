"""The hook that this plugin adds to ilit's own."""

from __future__ import annotations

from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("ilit")


@hookspec(firstresult=True)
def ilit_pytorch_build(config: dict[str, Any]) -> Any | None:
    """Return the float architecture that an artefact's ``config.json`` describes, or None where it is not yours.

    Called by ``ilit.load`` when it is given no model. The module's values do not matter (``meta`` tensors will do), its
    module paths do. The first answer counts.
    """
