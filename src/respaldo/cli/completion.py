"""``respaldo completion``: the script that makes a shell complete commands and options. click's own."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from respaldo.language import _

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RESPALDO_COMPLETE"


@click.command(short_help=_("print the script that completes commands in a shell"))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None  # click knows all of SHELLS
    print(kind(context.find_root().command, {}, "respaldo", VARIABLE).source())


completion.help = _(
    """Print the script that makes a shell complete commands, options and their choices.

Put it where the shell reads it at its start. bash needs version 4.4 or later. Changes nothing by itself.

\b
Examples:
  respaldo completion bash > ~/.local/share/bash-completion/completions/respaldo
  respaldo completion zsh > ~/.zfunc/_respaldo
  respaldo completion fish > ~/.config/fish/completions/respaldo.fish

\b
Exit codes: 0 done; 2 wrong use.
"""
)
