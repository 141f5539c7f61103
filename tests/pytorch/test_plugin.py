"""What the distribution registers."""

from __future__ import annotations

import torch

from ilit.plugins import installed_plugins
from ilit_pytorch import Accuracy, PyTorchAdapter
from ilit_pytorch.plugin import ilit_adapters, ilit_metrics, ilit_select_adapter


def test_it_is_installed_with_its_hook() -> None:
    """Ilit finds it by its entry point, and other plugins may implement what it asks for."""
    plugins = installed_plugins()
    (found,) = (plugin for plugin in plugins.listing() if plugin.origin.name == "pytorch")
    assert found.error == ""
    assert hasattr(plugins.hook, "ilit_pytorch_build")


def test_it_offers_the_adapter_and_the_metrics() -> None:
    """The very classes that users import."""
    assert ilit_adapters() == [PyTorchAdapter]
    assert Accuracy in ilit_metrics()


def test_it_takes_torchs_modules_and_no_other_model() -> None:
    """So that other adapters may stand beside it."""
    assert ilit_select_adapter(torch.nn.Linear(2, 2)) == "pytorch"
    assert ilit_select_adapter("a path") is None
