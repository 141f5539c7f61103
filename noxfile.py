"""The checks of this repository, a session each: ``nox --list``. ``.ci/run`` is what a change must pass."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where nox itself depends on tomli
    import tomli as tomllib

ROOT = Path(__file__).parent
CORE, PYTORCH, STRATEGIES, BERT = (
    ROOT / folder for folder in ("ilit_core", "plugins/ilit_pytorch", "plugins/ilit_strategies", "plugins/ilit_bert")
)
DISTRIBUTIONS = (CORE, PYTORCH, STRATEGIES, BERT)
SOURCES = tuple(str(folder / "src" / folder.name) for folder in (PYTORCH, STRATEGIES, BERT))
# The installed plugins and the fake framework, and a strategy and a metric named in YAML.
TUNE_BY_NAME = """
import importlib_metadata, ilit, yaml
from ilit.plugins import load_plugins
from ilit.testing import GivenPlugin, fake, fake_data, fake_model

installed = load_plugins([*importlib_metadata.entry_points(group="ilit"), GivenPlugin("fake", fake)])
conf = yaml.safe_load("tuning: {strategy: ends_in_float, metric: balanced_accuracy}")
model = fake_model(ops=6, sensitive=["layer5"])
tuner = ilit.Tuner(conf, plugins=installed)
tuner.tune(model, fake_data(model, seed=2), fake_data(model))
print(tuner.result.reason)
raise SystemExit(not tuner.result.met)
"""
NO_FRAMEWORK = "import sys, ilit, ilit.cli, ilit_strategies; assert not {'torch', 'transformers'} & sys.modules.keys()"

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.error_on_missing_interpreters = True


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after ``--`` go to pytest."""
    session.install("-r", "requirements/tests.txt")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Run linter and formatter."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly, core and plugins."""
    session.install("-r", "requirements/lint.txt")
    session.run("mypy", str(CORE / "src" / "ilit"))
    session.run("mypy", *SOURCES)


@nox.session
def docs(session: nox.Session) -> None:
    """Run what README and the pages of docs show, and compare them with the code."""
    session.install("-r", "requirements/tests.txt")
    pages = ("readme", "docs", "architecture", "adapter_page", "config_page", "hooks")
    session.run("pytest", *(f"tests/test_{page}.py" for page in pages), "tests/strategies/test_docs.py")


@nox.session
def families(session: nox.Session) -> None:
    """Tune every family of transformers that is promised to work, tiny and with random weights."""
    session.install("-r", "requirements/tests.txt")
    session.run("pytest", "-m", "", "tests/families", *session.posargs)


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the distributions allow; torch is the one they all share."""
    lowest = Path(session.create_tmp()) / "minimums.txt"
    lowest.write_text("\n".join(lower_bounds()) + "\n", encoding="utf-8")
    session.log(lowest.read_text(encoding="utf-8"))
    session.install("-c", str(lowest), *map(str, DISTRIBUTIONS), "pytest", "hypothesis")
    session.run("pytest", *session.posargs)


def lower_bounds() -> list[str]:
    """Return ``name==version`` for each ``name>=version`` of the four distributions, and the pin of torch."""
    pins = {}
    for folder in DISTRIBUTIONS:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for requirement in project["dependencies"]:
            name, found, bounds = requirement.partition(">=")
            if found:
                pins[name] = bounds.partition(",")[0]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins |= dict(line.split("==") for line in lines if line.startswith("torch=="))
    return [f"{name}=={version}" for name, version in pins.items()]


@nox.session
def core_without_torch(session: nox.Session) -> None:
    """Install core and strategies alone: the command line works, and no torch is there to be loaded."""
    session.install(str(CORE), str(STRATEGIES))
    session.run("python", "-c", "import importlib.util as u; assert not u.find_spec('torch'), 'torch is installed'")
    session.run("python", "-c", NO_FRAMEWORK)
    with session.chdir(session.create_tmp()):
        Path("conf.yaml").write_text("tuning: {accuracy_criterion: {relative: 0.01}}\n", encoding="utf-8")
        session.run("ilit", "plugins")
        session.run("ilit", "check", "conf.yaml")
        session.run("ilit", "check", "conf.yaml", "--json")


@nox.session
def template(session: nox.Session) -> None:
    """Install the template beside core and strategies: it is listed, lawful, and tunes when named."""
    session.install(str(CORE), str(STRATEGIES), f"{ROOT / 'examples' / 'plugin-template'}[test]")
    listed = session.run("ilit", "plugins", "--json", silent=True)
    for part in ("ilit-template", "ends_in_float", "balanced_accuracy"):
        if not listed or part not in listed:
            session.error(f"ilit plugins does not list {part}")
    session.run("pytest", "-p", "no:cacheprovider", str(ROOT / "examples" / "plugin-template"))
    with session.chdir(session.create_tmp()):
        session.run("python", "-c", TUNE_BY_NAME)


@nox.session
def build(session: nox.Session) -> None:
    """Build wheel and sdist of each distribution, and install each of the eight files."""
    session.install("build")
    for folder in DISTRIBUTIONS:
        with tempfile.TemporaryDirectory() as built:
            session.run("python", "-m", "build", "--outdir", built, str(folder), silent=True)
            made = sorted(Path(built).iterdir())
            if sorted(file.suffix for file in made) != [".gz", ".whl"]:
                session.error(f"{folder.name}: expected a wheel and an sdist, got {[file.name for file in made]}")
            for file in made:
                session.install("--no-deps", "--force-reinstall", str(file))
    session.install("-c", "constraints.txt", *map(str, DISTRIBUTIONS))
    session.run("pip", "check")
    session.run("ilit", "bert", "--help", silent=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- tuning SHARED`` runs ``bench/tuning.py SHARED``, SHARED being the real data."""
    scripts = sorted(file.stem for file in (ROOT / "bench").glob("*.py"))
    name, *arguments = session.posargs or [""]
    if name not in scripts:
        session.error(f"name what to run after --: {', '.join(scripts)}")
    session.install("-r", "requirements/demo.txt")
    session.run("python", f"bench/{name}.py", *arguments)
