"""The weight of an INT8 op as other code sees it: a float tensor that is dequantized when its values are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_any, tree_map

from ilit.errors import LoweringError
from ilit_pytorch.module_parts.activation import LOOKING_ATTRIBUTES, LOOKING_METHODS

_FORM = LOOKING_ATTRIBUTES | {
    "layout", "itemsize", "nbytes", "grad", "grad_fn", "is_leaf", "is_sparse", "is_mkldnn", "is_meta", "is_cuda",
    "names",
}  # fmt: skip
_FORM_METHODS = LOOKING_METHODS | {"__len__", "is_contiguous", "element_size", "get_device", "ndimension", "nelement"}
_MEMORY = frozenset({"data_ptr", "storage", "untyped_storage", "_typed_storage", "__dlpack__", "share_memory_", "set_"})
_VIEWS = frozenset(
    {"__getitem__", "t", "transpose", "view", "reshape", "unbind", "select", "narrow", "flatten", "permute", "squeeze",
     "unsqueeze", "expand", "chunk", "split", "diagonal", "view_as"}
)  # fmt: skip
_VIEW_ATTRIBUTES = frozenset({"T", "mT", "H", "mH"})


class ReadOnly(torch.Tensor):
    """Values of a weight that look like a view of it: read like any tensor, not written, since nobody would see it."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do everything with plain values, views excepted, which are read only as well."""
        _refuse_writing(func, args, kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - the documented way to run the plain function
            output = func(*tree_map(_plain, args), **tree_map(_plain, kwargs or {}))
        return _seen(func, output)


class Dequantized(torch.Tensor):
    """What stands for a float weight: its shape, dtype and device cost nothing, its values what dequantizing costs.

    It is frozen: reading gives plain tensors, each a new one; writing is refused, also to views of it, since it would
    reach no code. It has no memory of its own.
    """

    dequantize_now: Callable[[], torch.Tensor]

    @staticmethod
    def __new__(cls, shape: tuple[int, ...], dtype: torch.dtype, dequantize: Callable[[], torch.Tensor]) -> Dequantized:
        """Stand for what ``dequantize`` returns: float32 of that shape, given out in ``dtype``."""
        new: Dequantized = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype)  # noqa: SLF001 - torch documents it for subclasses
        new.dequantize_now = dequantize
        return new

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer what is asked of the form; anything else is done with the dequantized values."""
        name, attribute = _names(func)
        if name in _FORM_METHODS or attribute in _FORM:
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # torch has not typed it
        _refuse_writing(func, args, kwargs or {})
        if (name in ("detach", "cpu", "requires_grad_") or attribute == "data") and isinstance(args[0], Dequantized):
            return args[0]
        return _seen(func, func(*tree_map(_plain, args), **tree_map(_plain, kwargs or {})))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch types it as disabled
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do with the dequantized values what did not come through Python."""
        return func(*tree_map(_plain, args), **tree_map(_plain, kwargs or {}))

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]  # torch names an argument of its own
        """Return the values, as a float tensor shows them."""
        return f"Dequantized({self.dequantize_now()})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle the values."""
        return self.dequantize_now().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]  # torch has not typed it

    def __deepcopy__(self, memo: Any) -> torch.Tensor:
        """Return the values."""
        return self.dequantize_now()


def _names(func: Any) -> tuple[str, str]:
    """Return a function's name, and for one that gets an attribute the attribute's."""
    name = getattr(func, "__name__", "")
    return name, getattr(getattr(func, "__self__", None), "__name__", "") if name == "__get__" else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Dequantized):
        return value.dequantize_now().to(value.dtype)
    return value.as_subclass(torch.Tensor) if isinstance(value, ReadOnly) else value


def _seen(func: Any, output: Any) -> Any:
    """Return a function's output on a weight's values, read only where the float weight would give a view."""
    name, attribute = _names(func)
    if name == "numpy":
        output.setflags(write=False)
    if name not in _VIEWS and attribute not in _VIEW_ATTRIBUTES:
        return output
    return tree_map(lambda leaf: leaf.as_subclass(ReadOnly) if isinstance(leaf, torch.Tensor) else leaf, output)


def _refuse_writing(func: Any, args: Any, kwargs: Any) -> None:
    """Refuse what writes into a weight (torch's names for that end with one underscore) or takes its memory."""
    name, _ = _names(func)
    first = next(iter((*args, *kwargs.values())), None)
    ours = tree_any(lambda leaf: isinstance(leaf, Dequantized | ReadOnly), first)
    if name in _MEMORY and ours:
        raise LoweringError(f"the weight of an INT8 op has no memory of its own ({name}); take weight.clone()")
    if name == "requires_grad_" and ours and (*args[1:], *kwargs.values(), True)[0]:
        raise LoweringError("the weight of an INT8 op is frozen; take torch.nn.Parameter(weight.clone())")
    in_place = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
    in_place = in_place or name in ("__set__", "__setitem__") or kwargs.get("inplace") is True
    if (in_place and ours) or tree_any(lambda leaf: isinstance(leaf, Dequantized | ReadOnly), kwargs.get("out")):
        raise LoweringError(
            f"the weight of an INT8 op cannot be written ({name}): its codes would stay as they are; "
            "change the float model and tune it again"
        )


def dequantized(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the float weight, float32 of the codes' shape (out, ...), for a scale of shape (out,)."""
    return codes.float() * scale.reshape(-1, *[1] * (codes.ndim - 1))


def transposed(weight: Dequantized) -> Dequantized:
    """Return a stand-in for the transpose of a weight of two axes."""
    dequantize = weight.dequantize_now
    return Dequantized((weight.shape[1], weight.shape[0]), weight.dtype, lambda: dequantize().t().contiguous())
