"""The weight of an INT8 op as other code sees it: a float tensor that is dequantized when its values are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_any, tree_map

from ilit.errors import LoweringError
from ilit_pytorch.modules.activation import LOOKING_ATTRIBUTES, LOOKING_METHODS

_FORM = LOOKING_ATTRIBUTES | {
    "layout", "itemsize", "nbytes", "grad", "grad_fn", "is_leaf", "is_sparse", "is_mkldnn", "is_meta", "is_cuda",
    "names",
}  # fmt: skip
_FORM_METHODS = LOOKING_METHODS | {"__len__", "is_contiguous", "element_size", "get_device", "ndimension", "nelement"}
_FROZEN = frozenset({"detach", "requires_grad_", "cpu"})


class Dequantized(torch.Tensor):
    """What stands for a float weight: its shape, dtype and device cost nothing, its values what dequantizing costs.

    It is frozen: reading gives plain tensors, each a new one; writing is refused, since it would reach no code.
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
        name = getattr(func, "__name__", "")
        attribute = getattr(getattr(func, "__self__", None), "__name__", "")
        if name in _FORM_METHODS or (name == "__get__" and attribute in _FORM):
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # torch has not typed it
        if (name in _FROZEN or (name == "__get__" and attribute == "data")) and isinstance(args[0], Dequantized):
            return args[0]
        if _writes(name, args, kwargs or {}):
            raise LoweringError(
                f"the weight of an INT8 op cannot be written ({name}): its codes would stay as they are; "
                "change the float model and tune it again"
            )
        return func(*tree_map(_plain, args), **tree_map(_plain, kwargs or {}))

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


def _plain(value: Any) -> Any:
    return value.dequantize_now().to(value.dtype) if isinstance(value, Dequantized) else value


def _writes(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a function writes into a weight: torch's names for these end with one underscore."""
    in_place = (name.endswith("_") and not name.endswith("__")) or name in ("__set__", "__setitem__")
    into, first = kwargs.get("out"), next(iter((*args, *kwargs.values())), None)
    written = [first] * in_place + [into]
    return tree_any(lambda leaf: isinstance(leaf, Dequantized), written)


def dequantized(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the float weight, float32 of the codes' shape (out, ...), for a scale of shape (out,)."""
    return codes.float() * scale.reshape(-1, *[1] * (codes.ndim - 1))
