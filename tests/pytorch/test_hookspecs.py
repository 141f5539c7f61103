"""The hook that builds an artefact's architecture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pluggy

from ilit.hookspecs import hookimpl
from ilit_pytorch import hookspecs


def builder(kind: str) -> Any:
    """Return a plugin that builds models of one class."""

    @hookimpl
    def ilit_pytorch_build(config: dict[str, Any]) -> str | None:
        return f"a {kind}" if config["class"] == kind else None

    return SimpleNamespace(ilit_pytorch_build=ilit_pytorch_build)


def test_who_knows_the_config_builds_and_the_others_are_passed_over() -> None:
    """One answer, not a list; none where nobody knows it."""
    plugins = pluggy.PluginManager("ilit")
    plugins.add_hookspecs(hookspecs)
    for kind in ("Bert", "ViT"):
        plugins.register(builder(kind))
    built = [plugins.hook.ilit_pytorch_build(config={"class": kind}) for kind in ("Bert", "ViT", "T5")]
    assert built == ["a Bert", "a ViT", None]
