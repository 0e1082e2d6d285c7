"""What a new backup is to be called: the flags of ``respaldo backup``, and the step after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

from respaldo.catalog.versions import MAIN, Step
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.operations.versions import LabelRequest

Command = TypeVar("Command", bound=Callable[..., Any])


def label_options(command: Command) -> Command:
    """Add the flags of versions, tags and pins; the command receives one ``naming``."""

    @wraps(command)
    def with_labels(
        *,
        branch: str | None,
        version: str | None,
        step: str | None,
        tags: Sequence[str],
        description: str | None,
        is_pinned: bool,
        **values: Any,
    ) -> Any:
        naming = label_request(
            branch=branch, version=version, step=step, tags=tags, description=description, is_pinned=is_pinned
        )
        return command(naming=naming, **values)

    for option in (
        click.option("--pin", "is_pinned", is_flag=True, help=_("keep the backup from retention")),
        click.option("--description", metavar="TEXT", help=_("what the backup is for")),
        click.option(
            "--tag",
            "tags",
            metavar="NAME",
            multiple=True,
            help=_("a tag, which keeps the backup from retention too; may be repeated"),
        ),
        click.option(
            "--version-increment",
            "step",
            type=click.Choice([step.value for step in Step]),
            help=_("which number of the version goes up [default: patch]"),
        ),
        click.option("--version", "version", metavar="X.Y.Z", help=_("the version, in place of the next one")),
        click.option("--branch", metavar="NAME", help=_("give the backup the next version of this branch")),
    ):
        with_labels = option(with_labels)
    return with_labels  # type: ignore[return-value]  # click's decorators keep what they decorate


def label_request(
    *,
    branch: str | None = None,
    version: str | None = None,
    step: str | None = None,
    tags: Sequence[str] | None = None,
    description: str | None = None,
    is_pinned: bool = False,
    is_versioned: bool = False,
) -> LabelRequest:
    """Return what the flags ask for. A version, a step or ``is_versioned`` without a branch mean the branch main."""
    if version is not None and step is not None:
        raise UsageError(
            _("{first} and {second} contradict each other").format(first="--version", second="--version-increment"),
            hint=_("say the version, or which number goes up"),
        )
    wants_version = is_versioned or version is not None or step is not None
    return LabelRequest(
        branch=branch if branch is not None else MAIN if wants_version else None,
        version=version,
        step=Step(step) if step else Step.PATCH,
        tags=tuple(tags or ()),
        description=description or "",
        is_pinned=is_pinned,
    )
