"""The PyTorch adapter of ilit: eager INT8 on CPUs.

What ``__all__`` names is public; all else may change from release to release.

* ``QuantStub``: the mark for activations that several ops read.
* ``linear_activation``, ``linear_add``, ``feed_forward``: calls for modeling code, of fewer kernels in INT8.
* ``unobserved``: whether modeling code may run what is inside a module past its call;
  ``rowwise``: whether it may leave out rows that nobody reads.
* ``PyTorchAdapter``: the adapter ``pytorch``, for who runs or loads models without a tuner.
* ``saturated_twin``: a copy of a tuned model that answers as on a CPU without VNNI, saturation included.
* ``add_files``, ``read_recipe``: further files in the folder of a tuned model, and its recipe with all digests checked.
* ``TopK``, ``Accuracy``, ``F1``, ``MeanSquaredError``, ``RootMeanSquaredError``, ``MeanAbsoluteError``: the metrics.
* ``refuse_nan``, ``rows_with_nan``: checks for metrics of your own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilit_pytorch.adapter import PyTorchAdapter
    from ilit_pytorch.artefact.files import add_files, read_recipe
    from ilit_pytorch.fused.calls import feed_forward, linear_activation, linear_add
    from ilit_pytorch.fused.conditions import rowwise, unobserved
    from ilit_pytorch.lowering.twin import saturated_twin
    from ilit_pytorch.metrics.f1 import F1
    from ilit_pytorch.metrics.inputs import refuse_nan, rows_with_nan
    from ilit_pytorch.metrics.regression import MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
    from ilit_pytorch.metrics.top_k import Accuracy, TopK
    from ilit_pytorch.modules.stub import QuantStub

__all__ = [
    "F1",
    "Accuracy",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "PyTorchAdapter",
    "QuantStub",
    "RootMeanSquaredError",
    "TopK",
    "add_files",
    "feed_forward",
    "linear_activation",
    "linear_add",
    "read_recipe",
    "refuse_nan",
    "rows_with_nan",
    "rowwise",
    "saturated_twin",
    "unobserved",
]

_MODULES = {
    "adapter": ("PyTorchAdapter",),
    "artefact.files": ("add_files", "read_recipe"),
    "lowering.twin": ("saturated_twin",),
    "fused.calls": ("feed_forward", "linear_activation", "linear_add"),
    "fused.conditions": ("rowwise", "unobserved"),
    "metrics.inputs": ("refuse_nan", "rows_with_nan"),
    "metrics.f1": ("F1",),
    "metrics.regression": ("MeanAbsoluteError", "MeanSquaredError", "RootMeanSquaredError"),
    "metrics.top_k": ("Accuracy", "TopK"),
    "modules.stub": ("QuantStub",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name's module only when it is asked for: listing plugins needs neither torch nor numpy."""
    if name not in _HOME:
        raise AttributeError(f"module 'ilit_pytorch' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ilit_pytorch.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Return the names of this module, public ones included that are not imported yet."""
    return sorted({*globals(), *__all__})
