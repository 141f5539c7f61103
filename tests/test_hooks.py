"""Every hook ships with a user, a heading in the docs whose text is its signature, and a test."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import ilit.hookspecs
import ilit_pytorch.hookspecs
from ilit.plugins.validation import spec_names
from ilit.testing import fake_data, fake_model, fake_plugins

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "hooks.md"
HOOKS = {
    name: getattr(specs, name)
    for specs in (ilit.hookspecs, ilit_pytorch.hookspecs)
    for name in sorted(spec_names(specs))
}


def sections() -> dict[str, str]:
    """Return heading -> text below it, for the page's headings of hooks."""
    parts = re.split(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def shown(hook: str) -> ModuleType:
    """Return the plugin that the example of a hook shows."""
    (text,) = (text for heading, text in sections().items() if heading.startswith(f"{hook}("))
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"__name__": "my_package"}
    exec(compile(block, f"{PAGE.name}, {hook}", "exec"), names)  # noqa: S102 - our own page
    return plugin(**{hook: names[hook]})


def plugin(**members: Any) -> ModuleType:
    """Return a module with the given members."""
    module = ModuleType("my_package.plugin")
    vars(module).update(members)
    return module


def implementers(files: list[Path], hook: str) -> list[Path]:
    """Return the files in which a function of that name is decorated as an implementation."""
    return [
        file
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == hook
        if any("hookimpl" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


def test_the_page_has_a_heading_for_each_hook_and_no_other() -> None:
    """Headings are the signatures, word for word."""
    signatures = [f"{name}{inspect.signature(hook)}".replace("'", "") for name, hook in HOOKS.items()]

    assert sorted(sections()) == sorted(signatures)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_user(hook: str) -> None:
    """Some part of this repository implements it, or the template or a documented example that this file runs does."""
    files = [file for folder in ("ilit_core/src", "plugins", "examples") for file in (ROOT / folder).rglob("*.py")]

    assert implementers(files, hook)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test(hook: str) -> None:
    """Some test other than this file's names it."""
    tests = [file for file in (ROOT / "tests").rglob("test_*.py") if file.name != Path(__file__).name]

    assert [file for file in tests if hook in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_example_is_a_plugin_that_works(hook: str) -> None:
    """The page's plugins load, and the parts they offer have the right shape."""
    plugins = fake_plugins(example=shown(hook), pytorch=plugin(hookspecs=ilit_pytorch.hookspecs))

    (listed,) = (listed for listed in plugins.listing() if listed.origin.name == "example")

    assert listed.error == ""
    assert listed.provides or listed.hooks == (hook,)


def test_the_examples_do_what_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Strategy, metric, objective, rule and events of the page take part in a run."""
    hooks = ("ilit_strategies", "ilit_metrics", "ilit_objectives", "ilit_space_rules")
    events = ("ilit_run_started", "ilit_trial_finished", "ilit_run_finished")
    model = fake_model(ops=4)
    tuner = ilit.Tuner(
        {
            "tuning": {"strategy": "once", "metric": "error_rate", "objective": "area"},
            "run": {"folder": str(tmp_path)},
        },
        tuning={"accuracy_criterion": {"absolute": 0.5}},
        plugins=fake_plugins(**{hook: shown(hook) for hook in (*hooks, *events)}),
    )

    tuner.tune(model, fake_data(model, seed=2), fake_data(model))

    assert tuner.result is not None
    assert tuner.result.met
    assert tuner.result.trials[0].recipe.float_ops == ("layer3",)
    started, *others = capsys.readouterr().out.splitlines()
    assert started.startswith(f"{tuner.result.folder}: error_rate")
    assert others == ["trial 1 passed, 1 ops in float", "met"]


def test_the_example_command_is_added(capsys: pytest.CaptureFixture[str]) -> None:
    """The page's command runs."""
    app = typer.Typer()
    app.callback()(lambda: None)
    shown("ilit_commands").ilit_commands(app)

    app(["hello", "you"], standalone_mode=False)

    assert capsys.readouterr().out == "hello you\n"


def test_the_example_loaders_and_executor_keep_their_word() -> None:
    """They are what the page says of them."""
    (wrap,) = shown("ilit_dataloaders").ilit_dataloaders()
    (executor,) = shown("ilit_executors").ilit_executors()

    assert list(wrap([((1, 2), 0)], None)) == [((1,), 0)]
    assert list(executor().map(str, (1, 2))) == ["1", "2"]
    assert shown("ilit_wrap_dataloader").ilit_wrap_dataloader([], object()) is None
    assert shown("ilit_select_adapter").ilit_select_adapter(object()) is None
    assert shown("ilit_pytorch_build").ilit_pytorch_build({}) is None
