"""Promises of ``ilit_bert.plugin``: what it offers, and that offering it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest
import transformers

from ilit.plugins import installed_plugins
from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.space import Op, SearchSpace
from ilit_bert import plugin
from ilit_bert.data.keyword_batches import KeywordBatches

INT8 = OpConfig("int8", "weight_only", QuantSpec())
NAMES = ("e.word_embeddings", "e.position_embeddings", "e.token_type_embeddings", "classifier")
BERT = transformers.BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=0, num_attention_heads=2)


class Model:
    """Has a config, as transformers' models do."""

    config = BERT

    def forward(self, input_ids=None, token_type_ids=None):
        """Name what it takes."""


def test_registry_takes_the_plugin():
    """The installed entry point registers without an error and offers what its hooks say."""
    listed = {entry.origin.name: entry for entry in installed_plugins().listing()}

    assert listed["bert"].error == ""
    assert {"glue", "squad"} <= set(listed["bert"].provides["metric"])


@pytest.mark.parametrize("module", ["torch", "transformers", "sklearn", "scipy"])
def test_importing_the_plugin_loads_nothing_heavy(module):
    """The command line imports every plugin at each start."""
    code = f"import ilit_bert.plugin, sys; sys.exit('{module}' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 (our own code)


def test_adding_commands_loads_nothing_heavy():
    """Neither do the commands, before one runs."""
    code = (
        "import sys, typer, ilit.cli; from ilit_bert.plugin import ilit_commands as add; app = typer.Typer(); add(app);"
        "sys.exit(bool({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 (our own code)


def test_small_embeddings_stay_float():
    """The rule leaves position and token-type embeddings float32 alone and touches nothing else."""
    space = SearchSpace({name: Op(name, "embedding", (INT8, FLOAT32)) for name in NAMES})
    ruled = plugin.ilit_space_rules(space, Model())

    assert {name: op.candidates for name, op in ruled.ops.items()} == {
        "e.word_embeddings": (INT8, FLOAT32),
        "e.position_embeddings": (FLOAT32,),
        "e.token_type_embeddings": (FLOAT32,),
        "classifier": (INT8, FLOAT32),
    }


def test_rule_never_widens():
    """Where float32 is not offered the rule asks for nothing."""
    space = SearchSpace({NAMES[1]: Op(NAMES[1], "embedding", (INT8,))})

    assert plugin.ilit_space_rules(space, Model()) == space


def test_other_models_have_no_rule():
    """A model without a transformers config is somebody else's."""
    assert plugin.ilit_space_rules(SearchSpace(), object()) is None


def test_loaders_of_transformers_models_are_wrapped():
    """Tuple batches become keyword inputs; other models' loaders are left alone."""
    assert isinstance(plugin.ilit_wrap_dataloader([], Model()), KeywordBatches)
    assert plugin.ilit_wrap_dataloader([], object()) is None
    assert plugin.ilit_dataloaders() == [KeywordBatches]


@pytest.mark.parametrize("config", [{}, {"class": "mine.Net", "architectures": ["Net"]}], ids=["empty", "own class"])
def test_build_hook_leaves_other_artefacts_alone(config):
    """A config that is not of transformers is answered before anything is imported."""
    assert plugin.ilit_pytorch_build(config) is None
