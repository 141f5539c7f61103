"""Options of a part by their names: what it has is taken, what it lacks is refused, whatever its own model would do.

pydantic drops what a model does not know unless the model forbids it, so that a misspelt option would be ignored in
silence. So names are compared here, at every depth. A part that declares itself open, by ``extra="allow"`` or by
``**kwargs``, takes any name but one that is all but a name it has.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from ilit.errors import ConfigError, IlitError, did_you_mean

MISSPELT = 0.8  # of 1: how much alike a name that an open part does not list must be to one it does, to be a mistake
DEEPEST = 9  # wrappers round one callable
KeyPath = tuple[str, ...]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Names:
    """The options that a part has.

    Attributes:
        known: those it lists.
        open: it takes any other.
    """

    known: tuple[str, ...]
    open: bool = False


def filled(model: Callable[..., Any], options: Mapping[str, Any], part: str) -> Any:
    """Return an options model filled with what the configuration gives.

    Args:
        model: a pydantic model; or another class that takes options as keywords, such as a dataclass.
        options: by name.
        part: what messages call it, ``strategy 'basic'``.

    Raises:
        ConfigError: an option the model does not have, at any depth, a value it refuses, or one that is missing.
    """
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        return constructed(model, part, (), options)
    try:
        made = model(**options)
    except pydantic.ValidationError as error:
        raise ConfigError(_complaint(error, part, names_of_model(model).known)) from error
    for path, names in _unknown(options, made):
        if names.open or not _is_read(model, options, path, made):
            _refuse_unknown(".".join(path), names, part)
    return made


def constructed(factory: Callable[..., Any], part: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Call ``factory`` with options it has.

    Raises:
        ConfigError: options it does not take, or refuses.
    """
    if not arguments and isinstance(factory, type) and issubclass(factory, pydantic.BaseModel):
        return filled(factory, options, part)
    names, signature = names_of_callable(factory), _signature(factory)
    for name in options:
        if name not in names.known:
            _refuse_unknown(name, names, part)
    try:
        if signature is not None:
            signature.bind(*arguments, **options)
    except TypeError as error:
        raise ConfigError(f"{part}: {error}; {_taken(names.known)}") from error
    try:
        return factory(*arguments, **options)
    except pydantic.ValidationError as error:
        raise ConfigError(_complaint(error, part, names.known)) from error
    except (TypeError, ValueError, IlitError) as error:
        raise ConfigError(f"{part}: {' '.join(str(error).split())}; correct its options") from error


# --- Messages ------------------------------------------------------------------------------------------------------


def _refuse_unknown(name: str, names: Names, part: str) -> None:
    """Refuse an option that is not listed, unless the part is open and lists none of almost that name."""
    last = name.rpartition(".")[2]
    if names.open and not difflib.get_close_matches(last, names.known, n=1, cutoff=MISSPELT):
        _log.info("%s takes any option, so '%s' is passed on unchecked", part, name)
        return
    raise ConfigError(f"{part} has no option '{name}'; {_taken(names.known)}{did_you_mean(last, names.known)}")


def _taken(known: tuple[str, ...]) -> str:
    return f"it takes {', '.join(known)}" if known else "it takes none"


def _complaint(error: pydantic.ValidationError, part: str, known: tuple[str, ...]) -> str:
    """Return the first of pydantic's complaints in our words."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        cure = f"{_taken(known)}{did_you_mean(name, known)}" if len(first["loc"]) == 1 else "mend its name"
        return f"{part} has no option '{name}'; {cure}"
    if first["type"] == "missing":
        return f"{part} needs the option '{name}'; write it beside the name"
    message = first["msg"].removeprefix("Value error, ")
    return f"option '{name}' of {part}: {message[:1].lower()}{message[1:]}; got {first['input']!r}"


# --- Names ---------------------------------------------------------------------------------------------------------


def names_of_model(model: type[pydantic.BaseModel]) -> Names:
    """Return the names by which a model takes its fields: their aliases, or their own where it allows that."""
    config = model.model_config
    by_alias = config.get("validate_by_alias", True)
    by_name = config.get("validate_by_name", False) or config.get("populate_by_name", False)
    known: list[str] = []
    for name, field in model.model_fields.items():
        aliases = list(_aliases(field.validation_alias or field.alias)) if by_alias else []
        known += [*aliases, *([name] if by_name or not aliases else [])]
    return Names(tuple(dict.fromkeys(known)), config.get("extra") == "allow")


def _aliases(alias: Any) -> Iterator[str]:
    if isinstance(alias, pydantic.AliasChoices):
        for choice in alias.choices:
            yield from _aliases(choice)
    elif isinstance(alias, pydantic.AliasPath):
        yield str(alias.path[0])
    elif alias is not None:
        yield alias


def names_of_callable(factory: Callable[..., Any]) -> Names:
    """Return the keywords a callable takes; those of what it wraps, by ``functools.wraps``, as well.

    A wrapper mostly has ``**kwargs`` and passes them on, so the innermost decides whether it is open.
    """
    layers: list[Any] = [factory]
    while (inner := getattr(layers[-1], "__wrapped__", None)) is not None and len(layers) < DEEPEST:
        layers.append(inner)
    signatures = [found for layer in layers if (found := _signature(layer)) is not None]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [parameter for found in signatures for parameter in found.parameters.values()]
    known = dict.fromkeys(parameter.name for parameter in parameters if parameter.kind in kinds)
    innermost = signatures[-1].parameters.values() if signatures else ()
    open_ended = not signatures or any(parameter.kind is parameter.VAR_KEYWORD for parameter in innermost)
    return Names(tuple(known), open_ended)


def _signature(factory: Callable[..., Any]) -> inspect.Signature | None:
    """Return a callable's own signature; None where it has none, as some written in C."""
    try:
        return inspect.signature(factory, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


# --- What pydantic drops -------------------------------------------------------------------------------------------


def _unknown(given: Any, made: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Names]]:
    """Yield the path of each name that what was made of the options does not list, with the names listed there."""
    if isinstance(made, pydantic.RootModel):
        yield from _unknown(given, made.root, path)
    elif isinstance(given, Mapping):
        names, parts = _names_and_parts(made, given)
        for key in given:
            if names is not None and str(key) not in names.known:
                yield (*path, str(key)), names
        for key, part in parts.items():
            yield from _unknown(given[key], part, (*path, str(key)))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple) and len(given) == len(made):
        for number, (item, part) in enumerate(zip(given, made, strict=True)):
            yield from _unknown(item, part, (*path, str(number)))


def _names_and_parts(made: Any, given: Mapping[Any, Any]) -> tuple[Names | None, dict[Any, Any]]:
    """Return the names that what was made lists, None where it is no model, and by given key what was made of each."""
    if isinstance(made, pydantic.BaseModel):
        fields = type(made).model_fields
        by_alias = {name: (name, *_aliases(field.validation_alias or field.alias)) for name, field in fields.items()}
        keys = {key: name for name, all_names in by_alias.items() for key in all_names if key in given}
        return names_of_model(type(made)), {key: getattr(made, name) for key, name in keys.items()}
    if dataclasses.is_dataclass(made):
        own = [field.name for field in dataclasses.fields(made)]
        return Names(tuple(own)), {name: getattr(made, name) for name in own if name in given}
    if isinstance(made, Mapping):
        # A TypedDict loses what it does not list; any other mapping has every key, though perhaps as another type.
        names = Names(tuple(map(str, made))) if len(made) < len(given) else None
        return names, {key: made[key] for key in given if key in made}
    return None, {}


def _is_read(model: Callable[..., Any], options: Mapping[str, Any], path: KeyPath, made: Any) -> bool:
    """Whether the options are others without the one at ``path``, as where a validator takes an older name.

    A value that is the default anyway tells nothing, so one that nothing takes is tried in its place as well.
    """
    try:
        return bool(model(**_without(options, path)) != made or model(**_without(options, path, object())) != made)
    except pydantic.ValidationError:
        return True


_REMOVED = object()


def _without(value: Any, path: KeyPath, instead: Any = _REMOVED) -> Any:
    """Return options without the one at ``path``, or with another value there."""
    first, rest = path[0], path[1:]
    if isinstance(value, list | tuple):
        return [_without(item, rest, instead) if str(at) == first else item for at, item in enumerate(value)]
    if rest:
        return {key: _without(item, rest, instead) if str(key) == first else item for key, item in value.items()}
    others = {key: instead if str(key) == first else item for key, item in value.items()}
    return {key: item for key, item in others.items() if item is not _REMOVED}
