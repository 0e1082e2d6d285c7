"""Questions to a person: on a terminal or on a pipe. End of input and Ctrl-C are a no."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from respaldo.cli.list import print_table
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.repository.proof import Proof
from respaldo.repository.records import Manifest

_YES = {"y", "yes", "s", "si", "sí"}


def confirm(question: str) -> bool:
    """Ask a question whose default is no. Raise UsageError where nobody can answer."""
    choices = _("[y/N]")
    answer = _ask(f"{question} {choices} ")
    if answer is None:
        raise UsageError(_("nobody answered the question"), hint=_("give --yes to be asked nothing"))
    return answer.strip().lower() in _YES


def require_typed(warning: str, expected: str) -> None:
    """Have the person type a word; raise UsageError for any other answer."""
    print(warning, file=sys.stderr)
    answer = _ask(_("Type {name} to go on: ").format(name=expected))
    if answer is None or answer.strip() != expected:
        raise UsageError(_("the name was not typed; nothing was changed"))


def ask_backup(manifests: Sequence[Manifest], proofs: Mapping[str, Proof]) -> Manifest | None:
    """Show the numbered list and return the one chosen; None for 0, and where nothing is answered."""
    print_table(manifests, proofs)
    while True:
        answer = _ask(_("Number of the backup to restore (0 cancels): "))
        if answer is None or answer.strip() in {"0", ""}:
            return None
        if answer.strip().isdecimal() and int(answer) <= len(manifests):
            return manifests[int(answer) - 1]
        print(_("{answer} is not in the list").format(answer=answer.strip()), file=sys.stderr)


def _ask(prompt: str) -> str | None:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not sys.stdin.isatty():
        print(file=sys.stderr)
    return line or None
