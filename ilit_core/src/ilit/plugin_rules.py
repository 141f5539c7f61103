"""What a plugin and its parts must look like, and what is wrong with one that does not."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pluggy

from ilit.errors import PluginError, did_you_mean, one_line

GROUP = "ilit"


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Attributes:
        word: what messages call it.
        hook: the hook that offers such parts.
        home: the distribution of the project whose parts of this kind most people want.
        needs: attributes a part must have beside ``name``.
    """

    word: str
    hook: str
    home: str
    needs: tuple[str, ...]


KINDS: dict[str, Kind] = {
    kind.word: kind
    for kind in (
        Kind(
            "adapter", "ilit_adapters", "ilit-pytorch", ("describe", "calibrate", "lower", "evaluate", "save", "load")
        ),
        Kind("strategy", "ilit_strategies", "ilit-strategies", ("Options", "search")),
        Kind("metric", "ilit_metrics", "ilit-pytorch", ("higher_is_better", "update", "result")),
        Kind("dataloader", "ilit_dataloaders", "ilit-bert", ("__call__",)),
        Kind("objective", "ilit_objectives", "ilit-core", ("cost", "objection")),
        Kind("executor", "ilit_executors", "ilit-core", ("map",)),
    )
}


def describe_failure(error: BaseException) -> str:
    """Return in one line why a plugin is disabled. Pluggy spreads its complaint over several."""
    return " ".join(str(error).split()) if isinstance(error, pluggy.PluginValidationError) else one_line(error)


def spec_names(specs: Any) -> set[str]:
    """Return the names of the hooks that a module or class specifies."""
    return {name for name in dir(specs) if hasattr(inspect.getattr_static(specs, name), f"{GROUP}_spec")}


def misuse(plugin: Any, hooks: set[str]) -> str:
    """Return what pluggy would let pass in silence: a hook without a specification, a function without its mark.

    Nor does pluggy mind an object that cannot be hashed until another plugin is asked, who would be blamed for it.
    """
    if type(plugin).__hash__ is None:
        return f"the plugin is a {type(plugin).__name__}, which cannot be hashed; use a module, or an object that can"
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name)
        function = getattr(function, "__func__", function)
        if not inspect.isroutine(function) or hasattr(function, f"{GROUP}_spec"):
            continue
        options = getattr(function, f"{GROUP}_impl", None)
        hook = (options or {}).get("specname") or name
        if hook not in hooks and (name.startswith("ilit_") if options is None else not options.get("optionalhook")):
            return f"there is no hook '{hook}'{did_you_mean(hook, hooks)}"
        if options is None and hook in hooks:
            return f"'{name}' is not marked; write @hookimpl above it"
    return ""


def check_part(part: Any, kind: Kind) -> Any:
    """Return the part if it has the shape of its kind.

    Raises:
        PluginError: it has no name, or an attribute is missing.
    """
    shown = getattr(part, "__name__", None) or type(part).__name__
    if not isinstance(getattr(part, "name", None), str) or not part.name:
        raise PluginError(f"{kind.hook}: {shown} has no name; give it a text in 'name'")
    for need in kind.needs:
        if not hasattr(part, need):
            raise PluginError(f"{kind.hook}: {kind.word} '{part.name}' has no '{need}'; see ilit.{kind.word}")
    return part
