"""README and the pages of docs: commands name what exists, configurations are read, Python runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import ilit
from ilit.cli import build_app
from ilit.config import read_config
from ilit.plugins import installed_plugins

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLUGINS = ("ilit_pytorch", "ilit_strategies", "ilit_bert")
DISTRIBUTIONS = [ROOT / "ilit_core", *(ROOT / "plugins" / name for name in PLUGINS)]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def named(values: list[tuple[Path, str]]) -> list[Any]:
    """Return cases named by page and number."""
    return [pytest.param(text, id=f"{page.stem}-{number}") for number, (page, text) in enumerate(values, start=1)]


def ilit_commands() -> Iterator[tuple[Path, str]]:
    """Yield every ``ilit ...`` in shell blocks and in inline code."""
    for page in PAGES:
        inline = re.findall(r"`(ilit (?:bert )?[a-z][^`\n]*)`", page.read_text(encoding="utf-8"))
        for line in [line for block in blocks(page, "bash") for line in block.splitlines()] + inline:
            for part in line.split("&&"):
                if part.strip().startswith("ilit "):
                    yield page, part.strip()


@pytest.mark.parametrize("command", named(sorted(set(ilit_commands()))))
def test_every_command_shown_exists(command: str) -> None:
    """The command is there, and every option it is given."""
    found: Any = typer.main.get_command(build_app(installed_plugins()))
    for word in (part.strip(".,") for part in shlex.split(command)[1:]):
        if word.startswith("-"):
            assert word in {option for parameter in found.params for option in parameter.opts}, command
        elif hasattr(found, "commands"):
            assert word in found.commands, command
            found = found.commands[word]


@pytest.mark.parametrize("text", named([(page, text) for page in PAGES for text in blocks(page, "yaml")]))
def test_every_configuration_shown_is_read(text: str) -> None:
    """Keys and values are right, and so is what two forms of one file say."""
    assert read_config(yaml.safe_load(text)).device == "cpu"


def test_set_up_is_two_commands() -> None:
    """One command runs the demo, one passes the tests, and their requirements name all four distributions."""
    commands = [block.strip() for block in blocks(README, "bash") if "pip install" in block]
    assert commands == [
        "pip install -r requirements/demo.txt && ilit bert demo",
        "pip install -r requirements/tests.txt && pytest -n auto --dist loadfile",
    ]
    wanted = {f"./{folder.relative_to(ROOT)}" for folder in DISTRIBUTIONS}
    assert wanted <= set((ROOT / "requirements" / "ilit.txt").read_text().split())
    for name in ("demo", "tests"):
        assert "-r ilit.txt" in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("page", [README, *(folder / "README.md" for folder in DISTRIBUTIONS), *PAGES[1:]], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that are there."""
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both usages run with the file as shown, but for the objective, which on a model this small is up to the clock."""
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (shown,) = blocks(README, "yaml")
    conf = yaml.safe_load(shown)
    conf["tuning"]["objective"] = "modelsize"
    Path("conf.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    data = [(rows, model(rows).detach().argmax(1)) for rows in torch.randn(4, 16, 32)]
    before = model[0].weight.clone()

    def eval_func(candidate: Any) -> float:
        with torch.no_grad():
            hits = [(candidate(rows).argmax(1) == labels).float().mean() for rows, labels in data]
        return float(sum(hits) / len(hits))

    names: dict[str, Any] = {"model": model, "q_dataloader": data, "eval_func": eval_func}
    for block in blocks(README, "python"):
        # Evaluation rows that are also calibration rows are warned of, so they are others.
        names["eval_dataloader"] = [(rows + 0.001, labels) for rows, labels in data]
        names["tuner"] = names["q_model"] = None
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own page
        assert names["tuner"].result.met
        again = ilit.load(names["tuner"].result.folder / "best", model=model)
        assert torch.equal(again(data[0][0]), names["q_model"](data[0][0]))
    assert torch.equal(model[0].weight, before)


def test_the_quickstart_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block, in order, in one namespace; the page's own assertions hold."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks(ROOT / "docs" / "how-to" / "quickstart.md", "python"), start=1):
        exec(compile(block, f"quickstart.md, block {number}", "exec"), names)  # noqa: S102 - our own page


def test_the_configuration_page_runs() -> None:
    """Its Python block, and two forms of one file that say the same."""
    page = ROOT / "docs" / "reference" / "config.md"
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {})  # noqa: S102 - our own page
    mapping, listed, *_ = blocks(page, "yaml")
    assert read_config(yaml.safe_load(mapping)) == read_config(yaml.safe_load(listed))
