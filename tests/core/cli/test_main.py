"""The ``ilit`` command: exit codes, one-line errors, JSON, and the commands of plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import typer

from ilit.cli import JsonFlag, main, report
from ilit.errors import DataError
from ilit.hookspecs import hookimpl


def run_of(action: Any) -> ModuleType:
    """Return a plugin whose command ``do`` runs ``action``."""

    def do(as_json: JsonFlag = False) -> Any:
        return action(as_json)

    def add(app: typer.Typer) -> None:
        app.command(name="do")(do)

    module = ModuleType("doing")
    module.ilit_commands = hookimpl(add)
    return module


def raising(error: BaseException) -> Any:
    """Return an action that raises."""

    def action(as_json: bool) -> None:
        raise error

    return action


def leave(as_json: bool) -> None:
    """Leave the way typer's commands do."""
    raise typer.Exit(1)


ENDINGS = {
    "nothing returned": (lambda as_json: None, 0, ""),
    "missed": (lambda as_json: 1, 1, ""),
    "typer's exit": (leave, 1, ""),
    "a mistake": (raising(DataError("rows.tsv:3: no label; add one")), 2, "error: rows.tsv:3: no label; add one\n"),
    "interrupted": (raising(KeyboardInterrupt()), 130, "error: interrupted\n"),
}


@pytest.mark.parametrize(("action", "code", "stderr"), ENDINGS.values(), ids=ENDINGS)
def test_a_plugins_command_ends_as_ours_do(installed, capsys, action, code, stderr):
    """Its return value is the exit code, a mistake is one line and 2, Ctrl-C is 130."""
    installed(doing=run_of(action))
    assert main(["do"]) == code
    assert capsys.readouterr() == ("", stderr)


def test_a_bug_keeps_its_traceback_and_has_a_code_of_its_own(installed, capsys):
    """What is not the user's mistake is shown whole, and is never taken for a missed criterion."""
    installed(doing=run_of(raising(ZeroDivisionError("division by zero"))))
    assert main(["do"]) == 70
    stderr = capsys.readouterr().err
    assert "Traceback (most recent call last)" in stderr
    assert stderr.endswith("error: ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("arguments", [["--debug", "do"], ["do", "--debug"]], ids=["before", "after"])
def test_debug_adds_the_traceback_to_a_mistake(installed, capsys, arguments):
    """With --debug, wherever it stands, the one line follows its traceback."""
    installed(doing=run_of(raising(DataError("no rows"))))
    assert main(arguments) == 2
    stderr = capsys.readouterr().err
    assert "Traceback (most recent call last)" in stderr
    assert stderr.endswith("error: no rows\n")


def test_json_is_one_object_also_where_the_command_fails(installed, capsys):
    """A script that reads stdout always finds one object; the line for the reader is on stderr."""
    installed(doing=run_of(raising(DataError("no rows"))))
    assert main(["do", "--json"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"error": "no rows"}
    assert printed.err == "error: no rows\n"


def test_json_has_no_nan(installed, capsys):
    """What JSON cannot say is null, so that every reader can read it."""
    data = {"accuracy": float("nan"), "speedups": (1.5, float("inf"))}
    installed(doing=run_of(lambda as_json: report(data, as_json, lambda console: None)))
    assert main(["do", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"accuracy": None, "speedups": [1.5, None]}


USAGE = {
    "unknown command": (["chek"], "no such command 'chek'", "see 'ilit --help'"),
    "unknown option": (["check", "--jsn"], "no such option", "see 'ilit check --help'"),
    "missing argument": (["check"], "missing argument 'conf'", "see 'ilit check --help'"),
    "too many arguments": (["plugins", "x"], "unexpected extra argument", "see 'ilit plugins --help'"),
}


@pytest.mark.parametrize(("arguments", "fact", "cure"), USAGE.values(), ids=USAGE)
def test_a_mistake_in_the_command_line_is_one_line(installed, capsys, arguments, fact, cure):
    """Typer's own errors become one line that names the help to read."""
    installed()
    assert main(arguments) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert fact in stderr.lower()
    assert cure in stderr


def test_a_group_without_a_command_asks_for_one(installed, capsys):
    """``ilit bert`` alone is a mistake in one line, however the group was declared."""

    def add(app: typer.Typer) -> None:
        group = typer.Typer(no_args_is_help=True)
        group.command()(leave)
        group.command("other")(leave)
        app.add_typer(group, name="group")

    module = ModuleType("grouping")
    module.ilit_commands = hookimpl(add)
    installed(grouping=module)
    assert main(["group"]) == 2
    assert capsys.readouterr().err == "error: which command?; see 'ilit group --help'\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["nothing", "help"])
def test_help_is_shown(installed, capsys, arguments):
    """Without a command, and with --help, the commands are listed."""
    installed()
    assert main(arguments) == 0
    stdout = capsys.readouterr().out
    assert all(name in stdout for name in ("plugins", "init", "check", "show"))


def test_the_version_is_one_word_and_a_number(installed, capsys):
    """``ilit --version`` is for bug reports."""
    installed()
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split()[0] == "ilit"


def taking(name: str) -> ModuleType:
    """Return a plugin that adds the commands ``name`` and ``extra``."""

    def add(app: typer.Typer) -> None:
        app.command("extra")(leave)
        app.command(name)(leave)

    module = ModuleType(name)
    module.ilit_commands = hookimpl(add)
    return module


def break_down(app: typer.Typer) -> None:
    """Add a command, then raise."""
    app.command("half")(leave)
    raise RuntimeError("boom")


def test_a_plugin_whose_commands_fail_leaves_nothing_behind(installed, capsys, caplog):
    """One that raises or takes a name in use is disabled and adds no command; the others work."""
    broken = ModuleType("broken")
    broken.ilit_commands = hookimpl(break_down)
    installed(broken=broken, thief=taking("check"), good=run_of(lambda as_json: 1))
    assert main(["do"]) == 1
    assert main(["extra"]) == 2
    assert main(["half"]) == 2
    assert caplog.messages == [
        "plugin broken (ilit-broken 1.0) is disabled: RuntimeError: boom",
        "plugin thief (ilit-thief 1.0) is disabled: the command 'check' is there already; have its name changed",
    ]


PIPED = {"text": ["--version"], "table": ["plugins"], "help": ["--help"], "json": ["plugins", "--json"]}


@pytest.mark.parametrize("arguments", PIPED.values(), ids=PIPED)
def test_a_reader_that_stops_reading_is_no_error(arguments):
    """``ilit plugins | head -1`` ends quietly, whoever writes the output."""
    program = (
        "import os, sys\n"
        "import importlib_metadata\n"
        "importlib_metadata.entry_points = lambda group: []\n"
        "read, write = os.pipe()\n"
        "os.close(read)\n"
        "os.dup2(write, 1)\n"
        "from ilit.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=buffered)  # noqa: S603 - our own words
    assert (done.returncode, done.stderr) == (0, "")
