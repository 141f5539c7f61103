"""``ilit plugins``: what is installed, what each plugin offers, and why one does not work."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ilit.cli.output import JsonFlag, report
from ilit.plugins.registry import PluginInfo, installed_plugins


def plugins(as_json: JsonFlag = False) -> None:
    """List the installed plugins, what each offers, and the error of one that is disabled."""
    listing = installed_plugins().listing()
    report({"plugins": [_to_json(listed) for listed in listing]}, as_json, lambda console: _show(listing, console))


def _to_json(listed: PluginInfo) -> dict[str, Any]:
    return {
        "name": listed.origin.name,
        "distribution": listed.origin.distribution,
        "version": listed.origin.version,
        "provides": listed.provides,
        "hooks": listed.hooks,
        "error": listed.error or None,
        "clashes": listed.clashes,
    }


def _show(listing: tuple[PluginInfo, ...], console: Console) -> None:
    table = Table("plugin", "distribution", "offers")
    for listed in listing:
        table.add_row(
            escape(listed.origin.name),
            escape(f"{listed.origin.distribution} {listed.origin.version}"),
            escape("\n".join(_offers(listed))),
        )
    console.print(table)


def _offers(listed: PluginInfo) -> list[str]:
    if listed.error:
        return [f"disabled: {listed.error}"]
    parts = [f"{kind}: {', '.join(names)}" for kind, names in listed.provides.items()]
    return [*parts, *([f"hooks: {', '.join(listed.hooks)}"] if listed.hooks else []), *listed.clashes]
