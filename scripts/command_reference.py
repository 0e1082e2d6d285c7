#!/usr/bin/env python3
"""Write the reference of commands, variables and exit codes in both languages, from the program itself.

``python3 scripts/command_reference.py`` writes docs/es/api-reference.md and docs/en/api-reference.md; with ``--check``
it only tells whether they are current.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import click

from respaldo.cli.flat import build_parser
from respaldo.cli.main import cli
from respaldo.config.settings import Settings
from respaldo.language import LANGUAGES, N_, _

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100

EXIT_CODES = {
    0: N_("done"),
    1: N_("unclassified failure, or a hook before a backup that failed"),
    2: N_("wrong use or configuration"),
    3: N_("done, but something optional failed: labels, retention, a hook after it, or somebody was not told"),
    10: N_("no repository, or no such backup"),
    11: N_("another run holds the target"),
    12: N_("wrong key (reserved: there is no encryption yet)"),
    13: N_("damaged: bytes are missing or are not those that were written"),
    20: N_("storage failed"),
    30: N_("PostgreSQL, or one of its tools, refused or failed"),
    40: N_("environment: engine, container, permission, a stream cut short"),
    50: N_("a restore, a drill or doctor found that something is not as it should be"),
    51: N_("status: the newest backup of a target is older than the objective, or there is none"),
    130: N_("interrupted by Ctrl-C, SIGTERM or SIGHUP"),
}
OTHER_VARIABLES = {
    "RESPALDO_LANG": N_("language: es or en; then LC_ALL, LC_MESSAGES, LANG are asked; Spanish where none names one"),
    "NO_COLOR": N_("anything: no colour"),
    "SSL_CERT_FILE": N_("file of the authorities whose certificates are trusted, in place of the system's"),
    "DOCKER_HOST": N_("where Docker's engine listens: unix:///path or tcp://host:port"),
    "DOCKER_CERT_PATH": N_("directory of ca.pem, cert.pem and key.pem for an engine behind TLS"),
    "DOCKER_TLS_VERIFY": N_("anything: the engine is spoken to by TLS"),
    "KUBECONFIG": N_("path of the kubeconfig, for Kubernetes"),
    "TZ": N_("the machine's time zone, where it is not that of /etc/localtime"),
    "XDG_CONFIG_HOME": N_("where systemd's units of a user lie, in place of ~/.config"),
    "XDG_DATA_HOME": N_("where systemd keeps when a user's timers ran last, in place of ~/.local/share"),
    "XDG_STATE_HOME": N_("where schedules and their runs are kept when the repository is not a directory"),
    "KUBERNETES_SERVICE_HOST": N_("set in every pod, with its ports: the cluster's API server"),
    "KUBERNETES_SERVICE_PORT": N_("its port"),
    "KUBERNETES_SERVICE_PORT_HTTPS": N_("its port, which goes first"),
    "PGHOST": N_("host of a local server, where --host and RESPALDO_HOST say nothing"),
    "PGPORT": N_("port of a local server, where --port and RESPALDO_PORT say nothing"),
}


def write_help(command: click.Command, context: click.Context) -> str:
    """Return a command's help, as a terminal of 100 columns shows it, as a block."""
    return f"```\n{command.get_help(context).rstrip()}\n```\n"


def write_commands() -> Iterator[str]:
    root = cli.make_context("respaldo", [], resilient_parsing=True, terminal_width=WIDTH)
    yield "## respaldo\n"
    yield write_help(cli, root)
    yield from write_group(cli, root)


def write_group(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield the sections of a group's commands, those of the groups among them too."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            inner = command.make_context(name, [], parent=context, resilient_parsing=True)
            yield f"## {inner.command_path}\n"
            yield write_help(command, inner)
            if isinstance(command, click.Group):
                yield from write_group(command, inner)


def write_flat() -> Iterator[str]:
    """Yield the table of flat flags. Not argparse's own page, which every Python version lays out anew."""
    parser = build_parser()
    yield "## backup_orchestrator.py\n"
    description = parser.description or ""
    yield f"{description[:1].upper()}{description[1:]}; {parser.epilog}.\n"
    yield write_row(_("flag"), _("what it does")) + "\n|---|---|"
    for action in parser._actions:
        names = ", ".join(f"`{name}`" for name in action.option_strings)
        names_of_value = action.metavar if isinstance(action.metavar, tuple) else (action.metavar or "",)
        value = "|".join(action.choices) if action.choices else " ".join(names_of_value)
        value += " …" if action.nargs == "+" else ""
        shown = f"{names} `{value}`" if value and action.nargs != 0 else names
        yield write_row(shown, (action.help or "").replace("%%", "%"))
    yield ""


def write_row(*cells: str) -> str:
    """Return one row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write_variables() -> Iterator[str]:
    none = _("no flag")
    yield "## " + _("Environment variables") + "\n"
    yield _("A flag wins over its variable; where several are listed, the first that is set.") + "\n"
    secrets = [name for one in fields(Settings) if one.metadata["is_secret"] for name in one.metadata["variables"]]
    said = _(
        "These secrets can be in files too, whose paths are in the variables with `_FILE` after the name: {names}."
    )
    yield said.format(names=", ".join(f"`{name}`" for name in secrets)) + "\n"
    yield write_row(_("variable"), _("flag"), _("what it says")) + "\n|---|---|---|"
    for one in fields(Settings):
        names = ", ".join(f"`{name}`" for name in one.metadata["variables"])
        flag = one.metadata["flag"]
        yield write_row(names, f"`{flag}`" if flag else none, _(one.metadata["summary"]))
    for name, text in OTHER_VARIABLES.items():
        yield write_row(f"`{name}`", none, _(text))
    yield ""


def write_exit_codes() -> Iterator[str]:
    yield "## " + _("Exit codes") + "\n"
    yield write_row(_("code"), _("meaning")) + "\n|---|---|"
    yield from (write_row(f"{code}", _(text)) for code, text in EXIT_CODES.items())


def write_reference() -> str:
    """Return the page in this process's language."""
    title = _("Command reference")
    origin = _("Written by the program itself: `python3 scripts/command_reference.py`. Not edited by hand.")
    parts = [f"# {title}\n", f"{origin}\n", *write_commands(), *write_flat(), *write_variables(), *write_exit_codes()]
    return "\n".join(parts).rstrip() + "\n"


def page_of(language: str) -> Path:
    return ROOT / "docs" / language / "api-reference.md"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=_("write the reference of commands in both languages"))
    parser.add_argument("--check", action="store_true", help=_("only tell whether the pages are current"))
    parser.add_argument("--print", dest="prints", action="store_true", help=_("print the page in one language"))
    chosen = parser.parse_args(arguments)
    if chosen.prints:
        sys.stdout.buffer.write(write_reference().encode())
        return 0
    status = 0
    for language in LANGUAGES:
        # A process of its own: the language is chosen once, at the first word.
        environment = {**os.environ, "RESPALDO_LANG": language}
        text = subprocess.run(
            [sys.executable, __file__, "--print"], env=environment, stdout=subprocess.PIPE, check=True
        )
        page = page_of(language)
        if chosen.check and (not page.exists() or page.read_bytes() != text.stdout):
            print(_("{page} is not current").format(page=page.relative_to(ROOT)), file=sys.stderr)
            status = 1
        elif not chosen.check:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_bytes(text.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
