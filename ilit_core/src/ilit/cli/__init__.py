"""The ``ilit`` command: its own commands, those of plugins, and one way for all of them to end.

| exit code | meaning |
|---|---|
| 0 | done, and the criterion met where there is one |
| 1 | done, criterion missed |
| 2 | the user's mistake, told in one line on stderr |
| 70 | a bug of ours or a plugin's, with its traceback on stderr |
| 130 | interrupted |

A command returns its exit code, or None for 0, and raises ``ilit.errors.IlitError`` for a mistake of the user's.
With ``--json`` a failure is an object with the one key ``error`` on stdout, so that stdout always holds one object.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import importlib_metadata
import typer

from ilit.cli.check import check
from ilit.cli.init import init
from ilit.cli.output import JsonFlag, only_json, report
from ilit.cli.plugins import plugins
from ilit.cli.show import show
from ilit.errors import IlitError, PluginError, one_line
from ilit.plugins.registry import Registry, installed_plugins

__all__ = [
    "BUG",
    "DONE",
    "INTERRUPTED",
    "MISSED",
    "USER_ERROR",
    "JsonFlag",
    "build_app",
    "main",
    "only_json",
    "report",
]

DONE, MISSED, USER_ERROR, BUG, INTERRUPTED = 0, 1, 2, 70, 130
# Newer typers bring a copy of click of their own, and export no more than this subclass of its error.
_ClickError: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        return _run([argument for argument in given if argument != "--debug"])
    except IlitError as error:
        return _failed(one_line(error), given, USER_ERROR, debug)
    except _ClickError as error:
        return _failed(_usage(error), given, USER_ERROR, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", given, INTERRUPTED, debug)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as end:
        # Rich answers a broken pipe by leaving with 1, which would say that the criterion was missed.
        if isinstance(end.__context__, BrokenPipeError):
            return DONE
        raise
    except Exception as error:  # noqa: BLE001 - a traceback is shown, and an exit code that no outcome has
        return _failed(one_line(error), given, BUG, debug=True)


def _run(arguments: list[str]) -> int:
    """Run one command, without typer's own handling of errors and exits."""
    command = typer.main.get_command(build_app(installed_plugins()))
    try:
        with command.make_context("ilit", arguments) as context:
            code = command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as done:
        sys.stdout.flush()
        return int(done.exit_code)
    return code if isinstance(code, int) else DONE


def _failed(message: str, given: Sequence[str], code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc(file=sys.stderr)
    print(f"error: {message}", file=sys.stderr)  # noqa: T201 - the program's last word
    if "--json" in given:
        report({"error": message}, as_json=True, show=lambda _: None)
    return code


def _usage(error: Exception) -> str:
    """Return a mistake in the command line as one line that names the help to read."""
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":  # its text is the whole help page
        message = "which command?"
    text = " ".join(message.split()).rstrip(".")
    return f"{text}; see '{context.command_path if context else 'ilit'} --help'"


def build_app(plugins_found: Registry) -> typer.Typer:
    """Return the application with the commands of ilit and of all working plugins."""
    app = typer.Typer(
        help="Turn a trained model into an INT8 one within a tolerated accuracy loss.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_root)
    for command in (plugins, init, check, show):
        app.command()(command)
    for name in plugins_found.working:
        _add_commands(app, plugins_found, name)
    return app


def _add_commands(app: typer.Typer, plugins_found: Registry, name: str) -> None:
    """Let one plugin add its commands; one that raises, or takes a name in use, is disabled and adds nothing."""
    before = list(app.registered_commands), list(app.registered_groups)
    with plugins_found.isolated(name):
        plugins_found.ask(name, "ilit_commands", app=app)
        counts = Counter(_command_names(app))
        clash = [command for command, count in counts.items() if count > 1]
        if clash:
            raise PluginError(f"the command '{clash[0]}' is there already; have its name changed")
    if name not in plugins_found.working:
        app.registered_commands, app.registered_groups = before


def _command_names(app: typer.Typer) -> list[str]:
    commands = [
        info.name or getattr(info.callback, "__name__", "").replace("_", "-") for info in app.registered_commands
    ]
    groups = [info.name or (info.typer_instance and info.typer_instance.info.name) for info in app.registered_groups]
    return [*commands, *(name for name in groups if isinstance(name, str))]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ilit {importlib_metadata.version('ilit-core')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with every error.")] = False,  # noqa: ARG001 - read by main
    version: Annotated[  # noqa: ARG001 - acts through its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
