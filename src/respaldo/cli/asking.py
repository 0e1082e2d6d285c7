"""Questions to a person: on a terminal with arrow keys, on a pipe in lines. End of input and Ctrl-C are a no."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping, Sequence

from respaldo.cli.list import print_table, table_lines
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.repository.proof import Proof
from respaldo.repository.records import Manifest

_LOOK_S = 0.5
_YES = {"y", "yes", "s", "si", "sí"}


def confirm(question: str, *, hint: str | None = None) -> bool:
    """Ask a question whose default is no. Raise UsageError where nobody can answer; ``hint``: what to do then."""
    choices = _("[y/N]")
    answer = _ask(f"{question} {choices} ")
    if answer is None:
        raise UsageError(_("nobody answered the question"), hint=hint or _("give --yes to be asked nothing"))
    return answer.strip().lower() in _YES


def require_typed(warning: str, expected: str) -> None:
    """Have the person type a word; raise UsageError for any other answer."""
    print(warning, file=sys.stderr)
    answer = _ask(_("Type {name} to go on: ").format(name=expected))
    if answer is None or answer.strip() != expected:
        raise UsageError(_("the name was not typed; nothing was changed"))


def ask_backup(manifests: Sequence[Manifest], proofs: Mapping[str, Proof]) -> Manifest | None:
    """Show the numbered list and return the one chosen; None for 0, and where nothing is answered."""
    if _has_arrow_keys():
        number = _point_at(table_lines(manifests, proofs))
        return None if number is None else manifests[number]
    print_table(manifests, proofs)
    while True:
        answer = _ask(_("Number of the backup to restore (0 cancels): "))
        if answer is None or answer.strip() in {"0", ""}:
            return None
        if answer.strip().isdecimal() and int(answer) <= len(manifests):
            return manifests[int(answer) - 1]
        print(_("{answer} is not in the list").format(answer=answer.strip()), file=sys.stderr)


def _has_arrow_keys() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _point_at(lines: Sequence[str]) -> int | None:
    """Have the person choose among lines (the first is their heading), the last pointed at to begin with; None for no
    answer. Ctrl-C is KeyboardInterrupt."""
    # A third of a second: only who is asked waits for it.
    import questionary
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
    from prompt_toolkit.output import create_output

    heading, *rows = lines
    choices = [questionary.Choice(title=row, value=number) for number, row in enumerate(rows)]
    question = questionary.select(
        _("Backup to restore"),
        choices=[questionary.Separator(heading), *choices],
        default=choices[-1],
        instruction=_("(arrows choose, Enter takes it, 0 cancels)"),
        # stdout is the result's.
        output=create_output(stdout=sys.stderr),
    )
    leaving = KeyBindings()

    @leaving.add("0", eager=True)
    @leaving.add("c-d", eager=True)
    def leave(event: KeyPressEvent) -> None:
        event.app.exit(result=None)

    bound = question.application.key_bindings
    question.application.key_bindings = merge_key_bindings([bound, leaving] if bound else [leaving])
    number: int | None = question.unsafe_ask()
    return number


def _ask(prompt: str) -> str | None:
    print(prompt, end="", file=sys.stderr, flush=True)
    is_terminal = sys.stdin.isatty()
    # A Ctrl-C just before a read is noticed only when that ends, so none begins before there is a line.
    while is_terminal and not select.select([sys.stdin], [], [], _LOOK_S)[0]:
        pass
    line = sys.stdin.readline()
    if not is_terminal:
        print(file=sys.stderr)
    return line or None
