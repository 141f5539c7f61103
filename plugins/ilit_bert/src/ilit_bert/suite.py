"""The work behind ``ilit bert tune-suite``: a file of many runs, tuned one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ilit.errors import ArtefactError, ConfigError, IlitError, did_you_mean, one_line
from ilit_bert.checkpoints.folder import check_output
from ilit_bert.tune import TuneJob, TuneReport, tune

_PATHS = ("data_dir", "output", "config")
_TEXTS = ("model", "task", "metric")
_FLAGS = ("allow_weak_baseline",)
_log = logging.getLogger("ilit.bert")


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite.

    Attributes:
        name: its name in the table.
        job: model, task and options.
    """

    name: str
    job: TuneJob


@dataclass(frozen=True)
class SuiteResult:
    """The result of one run.

    Attributes:
        name: its name in the table.
        task: as the suite names it.
        model: as the suite names it.
        report: None where it failed.
        error: why it failed, in one line; else empty.
        mistake: the failure is the user's to cure, not a bug.
    """

    name: str
    task: str
    model: str
    report: TuneReport | None = None
    error: str = ""
    mistake: bool = False


def read_suite(file: Path) -> tuple[SuiteRun, ...]:
    """Read a suite: ``defaults``, a mapping of ``TuneJob``'s fields, and ``runs``, a list of such mappings.

    A run's keys win over the defaults; its ``name`` is its task and its model's folder where it has none. Paths are
    relative to the current folder, as on the command line.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or missing, a value is of the wrong type, or two runs
            write to one folder, or a run to a folder that cannot be made or holds something else. Names the run.
    """
    content = _content(file)
    defaults = _checked(content.get("defaults") or {}, f"{file}: defaults")
    runs = tuple(_run(defaults, entry, f"{file}: runs[{index}]") for index, entry in enumerate(content["runs"]))
    _check_outputs(runs, file)
    return runs


def _content(file: Path) -> Mapping[str, Any]:
    """Read a suite's file, and check that it has a list of runs and no other keys than a suite's."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); name a YAML file with 'runs'") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is no YAML ({' '.join(str(error).split())}); mend it") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("runs"), list) or not content["runs"]:
        raise ConfigError(
            f"{file}: has no list 'runs'; give one mapping a run, such as {{model: ..., task: MRPC, ...}}"
        )
    unknown = [key for key in content if key not in ("defaults", "runs")]
    if unknown:
        near = did_you_mean(str(unknown[0]), ("defaults", "runs"))
        raise ConfigError(f"{file}: unknown key '{unknown[0]}'; a suite has defaults and runs{near}")
    return content


def run_suite(runs: tuple[SuiteRun, ...], on_batch: Callable[[int, int], None] | None = None) -> Iterator[SuiteResult]:
    """Yield the result of each run, in order. A run that fails does not stop the rest; Ctrl-C in a search does."""
    for run in runs:
        _log.info("%s: %s on %s", run.name, run.job.model, run.job.task)
        result = _one(run, on_batch)
        yield result
        if result.report is not None and result.report.summary.interrupted:
            return


def _one(run: SuiteRun, on_batch: Callable[[int, int], None] | None) -> SuiteResult:
    about = (run.name, run.job.task, run.job.model)
    try:
        return SuiteResult(*about, report=tune(run.job, on_batch))
    except IlitError as error:
        return SuiteResult(*about, error=one_line(error), mistake=True)
    except Exception as error:  # noqa: BLE001 - the traceback is logged, and the rest of the suite still has to run
        _log.exception("%s", run.name)
        return SuiteResult(*about, error=one_line(error))


def _run(defaults: Mapping[str, Any], entry: Any, where: str) -> SuiteRun:
    """Return one run, defaults filled in."""
    values = {**defaults, **_checked(entry, where)}
    needed = [field.name for field in fields(TuneJob) if field.default is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ConfigError(f"{where}: '{missing[0]}' is missing; a run needs {', '.join(needed)}")
    name = values.pop("name", None) or f"{values['task']} {Path(values['model']).name}"
    return SuiteRun(name, TuneJob(**values))


def _checked(entry: Any, where: str) -> dict[str, Any]:
    """Validate a mapping of ``TuneJob``'s fields and ``name``, and convert its values."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: is a {type(entry).__name__}; give a mapping of model, task, data_dir, output, ...")
    known = ["name", *(field.name for field in fields(TuneJob))]
    values = {str(key).replace("-", "_"): value for key, value in entry.items()}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'; a run has {', '.join(known)}{did_you_mean(key, known)}")
        if wanted := _unfit(key, value):
            raise ConfigError(f"{where}: {key} is {value!r}; give {wanted}")
    return {key: _converted(key, value) for key, value in values.items()}


def _unfit(key: str, value: Any) -> str:
    """Return the values a key allows, where ``value`` is none of them; else empty."""
    if key in _FLAGS:
        return "" if isinstance(value, bool) else "true or false"
    if key == "labels":
        names = value.split(",") if isinstance(value, str) else value
        fits = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
        return "" if fits else "a list of texts, one for each of the checkpoint's ids"
    if key in ("name", *_TEXTS, *_PATHS):
        return "" if isinstance(value, (Mapping, str) if key == "config" else str) else "text"
    low = 0 if key == "seed" else 1
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= low
    return "" if fits else f"a whole number of {low} or more"


def _converted(key: str, value: Any) -> Any:
    """Convert a valid value to the type that ``TuneJob`` has."""
    if key == "labels":
        return tuple(name.strip() for name in (value.split(",") if isinstance(value, str) else value))
    return Path(value) if key in _PATHS and isinstance(value, str) else value


def _check_outputs(runs: tuple[SuiteRun, ...], file: Path) -> None:
    seen: dict[Path, int] = {}
    for index, run in enumerate(runs):
        first = seen.setdefault(run.job.output.absolute(), index)
        if first != index:
            raise ConfigError(
                f"{file}: runs[{first}] and runs[{index}] both write to {run.job.output}; give each its own output"
            )
        try:
            check_output(run.job.output)
        except ArtefactError as error:
            raise ConfigError(f"{file}: runs[{index}]: output {error}") from error
