"""What every module put into a lowered model can do: stand in for the float one in all that its owner may do to it.

It says what it is made of and is made again from that (artefacts, copies, pickles); it has a state dict, under names
that no float module has; and it takes over what its owner hung on the module it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch

from ilit.errors import LoweringError
from ilit_pytorch.model.clone import MODULE_STATE
from ilit_pytorch.model.weights import is_transposed
from ilit_pytorch.module_parts.state_entries import OWN, entries_of, misfit, misfit_numbers, parts_from

_WEIGHT_NAMES = ("weight", "bias", "parametrizations")
_REPLACED = ("weight", "bias")
_PLACES = ("_parameters", "_buffers", "_modules")
_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
)  # fmt: skip

Restore = Callable[[Mapping[str, Any], Mapping[str, torch.Tensor], torch.nn.Module], torch.nn.Module]
LoweredClass = TypeVar("LoweredClass", bound=type)

RESTORE: dict[str, Restore] = {}
"""Kind -> how to build it from meta, tensors and the float module it replaces. Loading builds nothing else."""


def restorable(cls: LoweredClass) -> LoweredClass:
    """Enter a class with ``kind`` and ``restore`` into ``RESTORE``."""
    RESTORE[cls.kind] = cls.restore  # type: ignore[attr-defined]  # both are asked for by the docstring
    return cls


class Lowered(torch.nn.Module):
    """A module that stands in a lowered model where a float one stood.

    Attributes:
        kind: its name in ``recipe.json``; ``restore`` is found by it.
        made: names of the instance's attributes, parameters and submodules that its constructor makes. Whatever else
            it has was hung on it, or on the float module before.
        computed: the float module's weight is computed before or in each forward, from what is then not taken over.
        computing: which of its forward pre-hooks do so, in the order they run; these are not taken over.
        biased: the float module has a bias; an INT8 one may add a correction all the same.
        input_first: the float module's weight is (in, out), as this one's is when it is read.
        int8_kernels: INT8 kernels one forward call runs, 0 for stubs and for what stays float.
        dtype: of the float module's weight, had it been cast as this one was; float32 as long as nobody does.
    """

    kind: ClassVar[str]
    made: ClassVar[frozenset[str]] = frozenset()
    computed: bool = False
    computing: tuple[int, ...] = ()
    biased: bool = True
    input_first: bool = False
    int8_kernels: int = 0
    dtype: torch.dtype = torch.float32

    def meta(self) -> dict[str, Any]:
        """Return the parts that are no tensors, as a JSON object."""
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the parts that are tensors, plain ones: int8 weights, float32 scales and biases."""
        return {}

    # --- What hung on the float module ------------------------------------------------------------------------------

    def adopt(self, original: torch.nn.Module, copied: Callable[[Any], Any]) -> None:
        """Take over the hooks of ``original`` and what it has beside its weight and bias.

        Args:
            original: the float module.
            copied: gives the clone's own of whatever ``original`` has.
        """
        if self.wraps_original():
            return
        self.take_hooks(original, copied)
        vars(self).update(biased=_is_biased(original), input_first=is_transposed(original))
        own, theirs = vars(self), vars(original)
        for name in theirs.keys() - MODULE_STATE - own.keys():
            if not hasattr(type(self), name):
                own[name] = copied(theirs[name])
        for place in _PLACES:
            hung = {key: copied(value) for key, value in theirs[place].items() if not self._is_weight(key)}
            if hung:
                own[place].update(hung)
                own["_non_persistent_buffers_set"] |= theirs["_non_persistent_buffers_set"] & hung.keys()

    def take_hooks(self, original: torch.nn.Module, copied: Callable[[Any], Any]) -> None:
        """Take over the forward hooks and pre-hooks of ``original``, but those that compute its weight."""
        if not original._forward_hooks and not original._forward_pre_hooks:  # noqa: SLF001 - no public name
            return
        for name in _HOOKS:
            vars(self)[name].update(copied(vars(original)[name]))
        for place, number in enumerate(vars(original)["_forward_pre_hooks"]):
            if place in self.computing:
                self._forward_pre_hooks.pop(number)
                self._forward_pre_hooks_with_kwargs.pop(number, None)

    def __getattr__(self, name: str) -> Any:
        """Answer for a wrapper what it has not itself with what the module inside has."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            original = vars(self).get("_modules", {}).get("original") if self.wraps_original() else None
            if original is None:
                raise
            return getattr(original, name)

    def wraps_original(self) -> bool:
        """Whether a clone of the float module is inside, with all that hangs on it."""
        return "original" in self.made

    def _is_weight(self, name: str) -> bool:
        """Whether a float op's weight and bias, or what they are computed from, go by this name."""
        return name in _WEIGHT_NAMES or (self.computed and name.startswith(tuple(f"{own}_" for own in _WEIGHT_NAMES)))

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        """Register a parameter that hangs on the module.

        Raises:
            LoweringError: it is to replace the weight or bias.
        """
        if name in _REPLACED:
            _refuse_another(self, name)
        super().register_parameter(name, param)

    # --- State dict -------------------------------------------------------------------------------------------------

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        torch.nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)  # noqa: SLF001 - what torch's own classes add is here under other names
        for name in self.made:
            destination.pop(f"{prefix}{name}", None)
        own = entries_of(self.kind, *_parts(self))
        destination.update((f"{prefix}{OWN}{name}", tensor.detach()) for name, tensor in own.items())

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take over the entries under this module's own names, all or none; others are what hangs on it."""
        start, expected = f"{prefix}{OWN}", entries_of(self.kind, *_parts(self))
        given = {key.removeprefix(start): value for key, value in state_dict.items() if key.startswith(start)}
        others = {key: value for key, value in state_dict.items() if not key.startswith(start)}
        made = {name: self._parameters.pop(name) for name in self.made & self._parameters.keys()}
        try:
            torch.nn.Module._load_from_state_dict(  # noqa: SLF001 - as above
                self, others, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
            )
        finally:
            self._parameters.update(made)
        missing = [f"{start}{name}" for name in expected if name not in given]
        missing_keys.extend(missing)
        if strict:
            unexpected_keys.extend(f"{start}{name}" for name in given if name not in expected)
        if expected and not missing:
            error_msgs.extend(self._load_entries(prefix.removesuffix(".") or "the model", expected, given))

    def _load_entries(
        self, where: str, expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]
    ) -> list[str]:
        """Be made of the entries given, or leave all as it is and return what speaks against it."""
        problem = misfit(where, expected, given)
        if problem:
            return [problem]
        meta, tensors = _parts(self)
        parts = parts_from(meta, tensors, given)
        problem = misfit_numbers(where, self.kind, parts)
        if problem:
            return [problem]
        self._become(RESTORE[self.kind](*parts, self._modules.get("original")))  # type: ignore[arg-type]  # None where none is wrapped
        return []

    def _become(self, other: Any) -> None:
        """Be made of what another module of this class is made of."""
        for name in self.made:
            for place in _PLACES:
                if name in vars(other)[place]:
                    vars(self)[place][name] = vars(other)[place][name]
            if name in vars(other):
                vars(self)[name] = vars(other)[name]

    # --- Copies, dtypes ---------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copy and pickle it by what it is made of, since packed weights are opaque to both."""
        return (
            rebuild,
            (type(self), *_parts(self), self._modules.get("original") if self.wraps_original() else None),
            self._hung(),
        )

    def _hung(self) -> dict[str, Any]:
        """Return the attributes that the constructor has not made."""
        state = {name: value for name, value in vars(self).items() if name not in self.made}
        for name in _PLACES:
            state[name] = {key: value for key, value in vars(self)[name].items() if key not in self.made}
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if name in _PLACES:
                vars(self)[name].update(value)
            else:
                vars(self)[name] = value

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Lowered:
        """Let ``model.half()`` and the like change what hangs on it; codes, scales and bias keep their dtypes.

        Raises:
            LoweringError: the model is to go to another device than the CPU.
        """
        like = fn(torch.zeros(0, dtype=self.dtype))
        if like.device.type != "cpu":
            raise LoweringError(f"an INT8 model of ilit runs on the CPU only, not on '{like.device}'; leave it there")
        vars(self)["dtype"] = like.dtype
        places = [(place, name) for place in _PLACES for name in self._fixed(place)]
        held = {(place, name): vars(self)[place].pop(name) for place, name in places}
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has not typed it
        finally:
            for (place, name), value in held.items():
                vars(self)[place][name] = value
        return self

    def _fixed(self, place: str) -> list[str]:
        """Return the names of made parameters, buffers or modules that keep their dtypes."""
        return [name for name in vars(self)[place] if name in self.made and name != "original"]


def _is_biased(original: torch.nn.Module) -> bool:
    """Whether the float op has a bias; nothing is computed for this."""
    inner = original._modules["0"] if isinstance(original, torch.nn.Sequential) else original  # noqa: SLF001 - torch's fused forms
    return inner is not None and ("bias" not in inner._parameters or inner._parameters["bias"] is not None)  # noqa: SLF001 - reading might compute


def _refuse_another(module: torch.nn.Module, name: str, *_: Any) -> None:
    raise LoweringError(
        f"the {name} of an INT8 op cannot be replaced ({type(module).__name__}): its codes would stay as they are; "
        "change the float model and tune it again"
    )


def read_only(read: Callable[[Any], Any]) -> property:
    """Return a property for ``weight`` or ``bias`` that refuses to be set."""

    def refuse(module: torch.nn.Module, _: Any) -> None:
        _refuse_another(module, read.__name__)

    return property(read, refuse, doc=read.__doc__)


def frozen(tensor: torch.Tensor) -> torch.nn.Parameter:
    """Return a tensor as a parameter that is not trained: what is asked of a model's parameters finds it."""
    return torch.nn.Parameter(tensor.detach(), requires_grad=False)


def rebuild(
    cls: type[Lowered], meta: dict[str, Any], tensors: dict[str, torch.Tensor], original: Any
) -> torch.nn.Module:
    """Build a lowered module again; the target of ``__reduce_ex__``, so that owners can copy and pickle a model."""
    return RESTORE[cls.kind](meta, tensors, original)


def _parts(module: Lowered) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return a module's own parts; what it wraps copies itself and has a state of its own."""
    if module.wraps_original():
        return {name: value for name, value in module.meta().items() if name != "inner"}, {}
    return module.meta(), {name: tensor.detach() for name, tensor in module.tensors().items()}
