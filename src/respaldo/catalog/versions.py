"""Versions of backups, ``MAJOR.MINOR.PATCH-BRANCH.BUILD``: what one is, what follows, what a clean-up keeps. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from respaldo.errors import UsageError
from respaldo.language import N_, _

BRANCHES = ("main", "develop", "staging", "hotfix", "feature", "release", "manual")
"""The branches that the original program knew; any other valid name makes one more."""
MAIN = BRANCHES[0]
# A letter or digit first; a branch may be named as in git, feature/login.
_WORD = re.compile(r"[^\W_][\w.+/-]{0,63}")
_NUMBER = r"(0|[1-9][0-9]{0,8})"
_CORE = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_VERSION = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}-(.+)\.{_NUMBER}")


class Step(StrEnum):
    """Which number of a version goes up by one; those behind it begin at 0 again."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version. ``build`` counts the versions of its branch, from 1, and never goes back: it makes each unique."""

    major: int
    minor: int
    patch: int
    branch: str
    build: int

    def __str__(self) -> str:
        return f"{self.core}-{self.branch}.{self.build}"

    @property
    def core(self) -> str:
        """The three numbers that a person gives."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The same, to compare."""
        return self.major, self.minor, self.patch

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the version that ``text`` is, None where it is none."""
        match = _VERSION.fullmatch(text)
        if match is None or not is_word(match[4]):
            return None
        major, minor, patch, branch, build = match.groups()
        return cls(major=int(major), minor=int(minor), patch=int(patch), branch=branch, build=int(build))


def is_word(text: str) -> bool:
    """Tell whether ``text`` may be a branch's or a tag's name."""
    return (
        _WORD.fullmatch(text) is not None and unicodedata.is_normalized("NFC", text) and not text.endswith((".", "/"))
    )


def check_branch(name: str) -> None:
    """Raise UsageError unless ``name`` may be a branch's."""
    if not is_word(name):
        raise UsageError(_("{name!r} cannot be the name of a branch").format(name=name), hint=_word_rule())


def check_tag(name: str) -> None:
    """Raise UsageError unless ``name`` may be a tag."""
    if not is_word(name):
        raise UsageError(_("{name!r} cannot be a tag").format(name=name), hint=_word_rule())


def _word_rule() -> str:
    return _("at most {limit} letters, digits and '_ . + / -', beginning with a letter or a digit").format(limit=64)


def next_version(branch: str, last: Version | None, *, step: Step = Step.PATCH, asked: str | None = None) -> Version:
    """Return the version that the next backup of a branch gets. ``last``: the last one given there, removed or not.

    The first of a branch is 1.0.0. ``asked``: three numbers, or a whole version of this branch. Raise UsageError for
    what is no version, is below the last one, or was given before.
    """
    check_branch(branch)
    build = last.build + 1 if last else 1
    if asked is None:
        major, minor, patch = _stepped(last, step)
        return Version(major=major, minor=minor, patch=patch, branch=branch, build=build)
    whole = Version.parse(asked)
    if whole is None:
        core = _CORE.fullmatch(asked)
        if core is None:
            raise UsageError(
                _("{version!r} is no version").format(version=asked),
                hint=_("MAJOR.MINOR.PATCH, such as 2.0.0; the branch and the build are added"),
            )
        major, minor, patch = map(int, core.groups())
        whole = Version(major=major, minor=minor, patch=patch, branch=branch, build=build)
    if whole.branch != branch:
        raise UsageError(
            _("version {version} is of branch {branch}, not of {asked}").format(
                version=asked, branch=whole.branch, asked=branch
            ),
            hint=_("say the branch once: --branch, and the three numbers as the version"),
        )
    if last is not None and (whole.build < build or whole.numbers < last.numbers):
        raise UsageError(
            _("version {version} is not above {last}, the last one of branch {branch}").format(
                version=whole, last=last, branch=branch
            ),
            hint=_("leave the version away, and the next one is taken: {next}").format(
                next=next_version(branch, last, step=step)
            ),
        )
    return whole


def _stepped(last: Version | None, step: Step) -> tuple[int, int, int]:
    if last is None:
        return 1, 0, 0
    if step is Step.MAJOR:
        return last.major + 1, 0, 0
    if step is Step.MINOR:
        return last.major, last.minor + 1, 0
    return last.major, last.minor, last.patch + 1


class PruneReason(StrEnum):
    """Why a version stays or goes. The values stand in JSON output and never change."""

    RECENT = "recent"
    PINNED = "pinned"
    BASE = "base"
    NEWEST = "newest"
    PROVEN = "proven"
    SAFETY = "safety"
    EXCESS = "excess"


_TEXTS = {
    PruneReason.RECENT: N_("one of the newest of its branch"),
    PruneReason.PINNED: N_("pinned or tagged"),
    PruneReason.BASE: N_("base of an incremental that stays"),
    PruneReason.NEWEST: N_("newest backup"),
    PruneReason.PROVEN: N_("newest proven backup"),
    PruneReason.SAFETY: N_("what a restore replaced, not two weeks old"),
    PruneReason.EXCESS: N_("older than the versions to keep of its branch"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioned:
    """What the clean-up needs to know of one backup; ``version`` None: it has none, and only counts as a user of its
    base."""

    name: str
    base: str | None
    started: datetime
    version: Version | None = None
    is_pinned: bool = False
    is_proven: bool = False
    is_recent_safety: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneVerdict:
    """Keep or remove the backup of one version. ``reasons`` is never empty."""

    name: str
    version: Version
    keep: bool
    reasons: tuple[PruneReason, ...]

    @property
    def text(self) -> str:
        """The reasons as a person reads them."""
        return ", ".join(_(_TEXTS[reason]) for reason in self.reasons)


def plan_prune(backups: Sequence[Versioned], keep: int) -> list[PruneVerdict]:
    """Return a verdict for every version of one target, the newest of each branch first.

    Of each branch the ``keep`` newest stay, what is pinned or tagged, the newest backup of the target, the newest
    proven one, what a restore replaced lately, and every base of what stays, with a version or without.
    """
    ordered = sorted(backups, key=lambda one: (one.started, one.name))
    reasons: dict[str, list[PruneReason]] = {one.name: [] for one in ordered}
    by_branch: dict[str, list[tuple[int, Versioned]]] = {}
    for one in ordered:
        if one.version is not None:
            by_branch.setdefault(one.version.branch, []).append((one.version.build, one))
    for members in by_branch.values():
        members.sort(key=lambda member: -member[0])
        for _build, one in members[:keep]:
            reasons[one.name].append(PruneReason.RECENT)
    for one in ordered:
        if one.is_pinned:
            reasons[one.name].append(PruneReason.PINNED)
        if one.is_recent_safety:
            reasons[one.name].append(PruneReason.SAFETY)
    for one in ordered[-1:]:
        reasons[one.name].append(PruneReason.NEWEST)
    for one in [one for one in ordered if one.is_proven][-1:]:
        reasons[one.name].append(PruneReason.PROVEN)
    staying = {one.name for one in ordered if reasons[one.name] or one.version is None}
    for base in {one.base for one in ordered if one.name in staying and one.base in reasons and one.base}:
        reasons[base].append(PruneReason.BASE)
    return [
        PruneVerdict(
            name=one.name,
            version=one.version,
            keep=bool(reasons[one.name]),
            reasons=tuple(reasons[one.name]) or (PruneReason.EXCESS,),
        )
        for branch in sorted(by_branch)
        for _build, one in by_branch[branch]
        if one.version is not None
    ]


def prune_order(verdicts: Sequence[PruneVerdict], bases: Collection[str]) -> list[str]:
    """Return the names to remove, ``bases`` (the fulls) after the incrementals that need them."""
    return sorted((verdict.name for verdict in verdicts if not verdict.keep), key=lambda name: name in bases)
