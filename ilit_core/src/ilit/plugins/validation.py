"""What a plugin and its parts must look like, and what is wrong with one that does not."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pluggy

from ilit.adapter import ABILITIES
from ilit.errors import PluginError, did_you_mean, one_line

GROUP = "ilit"


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Attributes:
        word: what messages call it.
        hook: the hook that offers such parts.
        home: the distribution of the project whose parts of this kind most people want.
        see: the public name that says what such a part must look like.
        needs: attributes a part must have beside ``name``.
        abilities: protocols of methods that a part may have, each wholly or not at all.
    """

    word: str
    hook: str
    home: str
    see: str
    needs: tuple[str, ...]
    abilities: tuple[type, ...] = ()


KINDS: dict[str, Kind] = {
    kind.word: kind
    for kind in (
        Kind(
            "adapter",
            "ilit_adapters",
            "ilit-pytorch",
            "ilit.adapter",
            ("describe", "calibrate", "lower", "evaluate", "save", "load"),
            ABILITIES,
        ),
        Kind("strategy", "ilit_strategies", "ilit-strategies", "ilit.strategy", ("Options", "search")),
        Kind("metric", "ilit_metrics", "ilit-pytorch", "ilit.metric", ("higher_is_better", "update", "result")),
        Kind("dataloader", "ilit_dataloaders", "ilit-bert", "ilit.hookspecs.ilit_dataloaders", ("__call__",)),
        Kind("objective", "ilit_objectives", "ilit-core", "ilit.objective", ("cost", "objection")),
        Kind("executor", "ilit_executors", "ilit-core", "ilit.executor", ("map",)),
    )
}


def parts_in(package: ModuleType, kind: str) -> list[type[Any]]:
    """Return the classes of a package's modules that have the shape of a kind of part, by module and place in it.

    For a plugin's hook: a new part is then a new module, and no list has to name it. A class that a module only
    imports, and one whose name begins with an underscore, is none; nor is one that has ``name`` alone.

    Args:
        package: its modules are imported, those of packages inside it are not.
        kind: ``strategy``, ``metric`` or another of ``KINDS``.

    Raises:
        PluginError: a class with a ``name`` of its own has at least half of what its kind needs, but not all.
    """
    found: list[type[Any]] = []
    for info in sorted(pkgutil.iter_modules(package.__path__, f"{package.__name__}."), key=lambda info: info.name):
        members = vars(importlib.import_module(info.name)).values()
        found += [member for member in members if _is_part_of(info.name, member, KINDS[kind])]
    return found


def _is_part_of(module: str, member: Any, kind: Kind) -> bool:
    """Whether a member is a public class of the module itself, or of one inside it, with the attributes of its kind.

    Raises:
        PluginError: it has a ``name`` of its own and at least half of the others: meant as a part, and none.
    """
    if not isinstance(member, type) or not f"{member.__module__}.".startswith(f"{module}."):
        return False
    if member.__name__.startswith("_") or not hasattr(member, "name"):
        return False
    missing = [need for need in kind.needs if not hasattr(member, need)]
    if isinstance(vars(member).get("name"), str) and 0 < 2 * len(missing) <= len(kind.needs):
        raise PluginError(
            f"{kind.hook}: {member.__module__}.{member.__qualname__} is nearly a {kind.word}, but has no "
            f"'{missing[0]}'; add it (see {kind.see}), or begin the class's name with an underscore"
        )
    return not missing


def describe_failure(error: BaseException) -> str:
    """Return in one line why a plugin is disabled. Pluggy spreads its complaint over several."""
    return " ".join(str(error).split()) if isinstance(error, pluggy.PluginValidationError) else one_line(error)


def spec_names(specs: Any) -> set[str]:
    """Return the names of the hooks that a module or class specifies."""
    return {name for name in dir(specs) if hasattr(inspect.getattr_static(specs, name), f"{GROUP}_spec")}


def misuse(plugin: Any, hooks: set[str]) -> str:
    """Return the mistake that pluggy would let pass in silence, in one line; empty where there is none.

    A hook without a specification, or a function without its mark. Nor does pluggy mind an object that cannot be hashed
    until another plugin is asked, who would be blamed for it.
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
        PluginError: it has no name, an attribute is missing, or an ability is not whole.
    """
    shown = getattr(part, "__name__", None) or type(part).__name__
    if not isinstance(getattr(part, "name", None), str) or not part.name:
        raise PluginError(f"{kind.hook}: {shown} has no name; give it a text in 'name'")
    for need in kind.needs:
        if not hasattr(part, need):
            raise PluginError(f"{kind.hook}: {kind.word} '{part.name}' has no '{need}'; see {kind.see}")
    for ability in kind.abilities:
        problem = incomplete(part, ability)
        if problem:
            raise PluginError(f"{kind.hook}: {kind.word} '{part.name}' {problem}")
    return part


def methods_of(ability: type) -> tuple[str, ...]:
    """Return the names of the methods that a protocol asks for."""
    return tuple(name for name in vars(ability) if not name.startswith("_"))


def incomplete(part: type, ability: type) -> str:
    """Return the fault of a class that has part of an ability; empty where it has all of it, or nothing.

    ``isinstance`` would not tell: it takes half an ability for none, and asks neither for functions nor for parameters.
    """
    has = {name: inspect.getattr_static(part, name, None) for name in methods_of(ability)}
    present = [name for name, member in has.items() if member is not None]
    for name, member in has.items():
        if present and member is None:
            return f"has '{present[0]}' but no '{name}'; ilit.{ability.__name__} needs both"
        if member is not None and not _takes_call(member, part, getattr(ability, name)):
            call = ", ".join(_parameters(getattr(ability, name)))
            return f"has a '{name}' that cannot be called as {name}({call}); see ilit.{ability.__name__}"
    return ""


def _parameters(method: Any) -> list[str]:
    """Return the names of a protocol method's parameters, ``self`` left out."""
    return list(inspect.signature(method).parameters)[1:]


def _takes_call(member: Any, part: type, wanted: Any) -> bool:
    """Whether what a class has can be called as the protocol's method; True where only an instance knows."""
    if not callable(member) and not isinstance(member, classmethod):
        return hasattr(member, "__get__")
    bound = member.__get__(object(), part) if hasattr(member, "__get__") else member
    try:
        inspect.signature(bound).bind(*_parameters(wanted))
    except TypeError:
        return False
    except (ValueError, NameError):  # of a function in C, or with annotations that Python 3.14 cannot evaluate
        return True
    return True
