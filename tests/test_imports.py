"""The arrows between the packages: core <- pytorch, strategies <- bert, and no further."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ilit_pytorch

ROOT = Path(__file__).parents[1]
SOURCES = {
    "ilit": ROOT / "ilit_core" / "src" / "ilit",
    **{name: ROOT / "plugins" / name / "src" / name for name in ("ilit_pytorch", "ilit_strategies", "ilit_bert")},
}
MAY_IMPORT = {
    "ilit": {"ilit"},
    "ilit_pytorch": {"ilit", "ilit_pytorch", "torch", "safetensors"},
    "ilit_strategies": {"ilit", "ilit_strategies"},
    "ilit_bert": {"ilit", "ilit_pytorch", "ilit_strategies", "ilit_bert", "torch", "safetensors", "transformers"},
}
# What only some packages may import; whatever else they import is their pyproject.toml's matter.
GUARDED = {*SOURCES, "torch", "transformers", "safetensors"}


PUBLIC = runpy.run_path(str(ROOT / "docs" / "python_reference.py"))["public_modules"]()
# What plugins and users write: our own plugins, the template, the docs' code and the benchmarks.
OUTSIDE = [
    *(file for name in SOURCES if name != "ilit" for file in sorted(SOURCES[name].rglob("*.py"))),
    *(file for folder in ("examples", "bench") for file in sorted((ROOT / folder).rglob("*.py"))),
    *(page for page in sorted(ROOT.rglob("*.md")) if "```python" in page.read_text(encoding="utf-8")),
]
# A benchmark of something that is no part of the surface.
MEASURED = {"error_rate.py": ("ilit.evidence.compare", "ilit.evidence.units")}


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of every import in a file, wherever it stands; the name is empty for ``import x``."""
    yield from imported_by(file.read_text(encoding="utf-8"), file)


def imported_by(text: str, file: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of every import in a program, as ``imported`` does."""
    for node in ast.walk(ast.parse(text, str(file))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            yield from ((node.module or "", alias.name) for alias in node.names)


def attributes_of_ilit(text: str) -> Iterator[str]:
    """Yield ``Tuner`` for every ``ilit.Tuner``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ilit":
            yield node.attr


def programs(file: Path) -> list[str]:
    """Return a file's text, or a page's blocks of Python."""
    text = file.read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL) if file.suffix == ".md" else [text]


def is_public(module: str, name: str) -> bool:
    """Whether a name may be imported from a module of ilit; a module itself where the name is empty."""
    return module in PUBLIC and (not name or name in PUBLIC[module] or f"{module}.{name}" in PUBLIC)


@pytest.mark.parametrize("package", SOURCES)
def test_arrows_go_one_way(package: str) -> None:
    """No package imports one that stands above or beside it, inside functions included."""
    files = list(SOURCES[package].rglob("*.py"))
    tops = {(file, module.partition(".")[0]) for file in files for module, _ in imported(file)}

    assert len(files) > 5
    assert [(file.name, top) for file, top in sorted(tops) if top in GUARDED - MAY_IMPORT[package]] == []


@pytest.mark.parametrize("package", SOURCES)
def test_underscore_names_stay_at_home(package: str) -> None:
    """What another of our packages marks as its own is not imported."""
    found = [
        f"{file.name}: from {module} import {name}"
        for file in SOURCES[package].rglob("*.py")
        for module, name in imported(file)
        if (top := module.partition(".")[0]) in SOURCES and top != package
        if any(part.startswith("_") for part in (*module.split("."), name))
    ]

    assert found == []


def test_plugins_import_only_what_is_public_of_ilit_pytorch() -> None:
    """What ``ilit_pytorch.__all__`` names is enough for another distribution."""
    found = [
        f"{file.name}: from {module} import {name}"
        for package in ("ilit_strategies", "ilit_bert")
        for file in SOURCES[package].rglob("*.py")
        for module, name in imported(file)
        if module.partition(".")[0] == "ilit_pytorch"
        if module != "ilit_pytorch" or name not in ilit_pytorch.__all__
    ]

    assert found == []


@pytest.mark.parametrize("file", OUTSIDE, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_outside_the_core_uses_only_what_is_public_of_it(file: Path) -> None:
    """Whoever writes a plugin needs no more than the page of Python names lists."""
    found = [
        f"from {module} import {name}"
        for text in programs(file)
        for module, name in imported_by(text, file)
        if module.partition(".")[0] == "ilit"
        and module not in MEASURED.get(file.name, ())
        and not is_public(module, name)
    ]
    found += [f"ilit.{n}" for text in programs(file) for n in attributes_of_ilit(text) if not is_public("ilit", n)]

    assert found == []


@pytest.mark.parametrize(
    "statement",
    [
        "import ilit",
        "import ilit.cli",
        "import ilit.report",
        "import ilit_strategies.plugin",
        "import ilit_pytorch",
        "import ilit_pytorch.plugin",
        "import ilit_bert.plugin",
        "import ilit_bert.cli",
    ],
)
def test_start_up_loads_no_framework(statement: str) -> None:
    """Neither the library nor a plugin's module nor the command line loads a framework or numpy when imported."""
    code = f"import sys; {statement}; print(*sorted({{'numpy', 'torch', 'transformers'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours

    assert done.stdout.split() == []
