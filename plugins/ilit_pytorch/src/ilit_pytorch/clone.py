"""A structural clone: the user's model again, sharing parameters, with its own modules, buffers and config.

Every forward pass of ours runs on one, because a forward may write: transformers' models write into ``config`` and
leave hooks, and others count their calls.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch

from ilit.errors import ModelError


def structural_clone(model: torch.nn.Module) -> torch.nn.Module:
    """Return a clone in eval mode whose parameters are the model's own tensors and whose buffers are copies.

    Raises:
        ModelError: the model holds something that cannot be copied, such as a lock or an open file.
    """
    shared: dict[int, object] = {id(tensor): tensor for tensor in _shared_tensors(model)}
    try:
        clone = copy.deepcopy(model, shared)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "keep what is not tensors, modules or plain values out of the model"
        ) from error
    return clone.eval()


def replace_modules(model: torch.nn.Module, replacements: Mapping[str, torch.nn.Module]) -> torch.nn.Module:
    """Put each module in place of the one at its path, wherever else that one stands as well; return the model.

    The path ``""`` is the model itself.
    """
    if "" in replacements:
        return replacements[""]
    by_identity = {id(model.get_submodule(path)): new for path, new in replacements.items()}
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # noqa: SLF001 - named_children leaves repeated modules out
            if id(child) in by_identity:
                parent._modules[name] = by_identity[id(child)]  # noqa: SLF001 - setattr refuses names with dots
    return model


def leave_fast_path(model: torch.nn.Module) -> None:
    """Make torch's TransformerEncoderLayers call their Linears instead of handing the weights to one fused kernel."""
    for module in model.modules():
        if isinstance(module, torch.nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, torch.nn.TransformerEncoder):
            module.use_nested_tensor = False


def _shared_tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                yield value  # computed from parameters, as by weight_norm's hook; torch refuses to copy such tensors
