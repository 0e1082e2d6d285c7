"""Everything that would stop a restore, or spoil it, said at once and before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from respaldo.language import _, ngettext
from respaldo.postgres.database import Creation
from respaldo.postgres.requirements import Requirements
from respaldo.postgres.surroundings import LiveDatabase, Surroundings
from respaldo.units import format_size

# A restored database is about as large as its source was; indexes are built with room to sort in.
_SPACE_FACTOR = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. A warning does not stop the restore."""

    message: str
    hint: str = ""
    is_warning: bool = False


def find_problems(
    requirements: Requirements,
    creation: Creation,
    surroundings: Surroundings,
    *,
    source_major: int | None,
    replaces: bool,
    in_place: bool,
    creates_roles: bool,
) -> list[Problem]:
    """Return all that is wrong with restoring there, what stops it before what is only a warning.

    ``replaces``: the live database will be exchanged for the new one; ``in_place``: dropped first, so that its space
    is free again; ``creates_roles``: missing roles will be made from the backup.
    """
    problems = [
        *_server(surroundings, source_major),
        *_missing(requirements, surroundings, creates_roles=creates_roles, owner=creation.owner),
        *_collation(requirements, creation, surroundings),
        *_space(requirements, surroundings, in_place=in_place),
    ]
    if replaces and surroundings.live is not None:
        problems += _live(surroundings.live, surroundings.role)
    return sorted(problems, key=lambda problem: problem.is_warning)


def _server(surroundings: Surroundings, stored: int | None) -> Iterator[Problem]:
    if stored is not None and stored > surroundings.major:
        yield Problem(
            message=_("the backup is of PostgreSQL {stored}, this server is the older {version}").format(
                stored=stored, version=surroundings.version
            ),
            hint=_("restore into a server of version {stored} or newer").format(stored=stored),
        )
    if surroundings.is_standby:
        yield Problem(
            message=_("the server is a standby: it takes no changes"), hint=_("name the primary with --container")
        )
    if not surroundings.may_create:
        yield Problem(
            message=_("role {role} may not create databases").format(role=surroundings.role),
            hint=_("use a superuser or a role with CREATEDB: --user"),
        )
    if surroundings.is_behind_pooler:
        yield Problem(
            message=_("a connection pooler stands before the server"),
            hint=_("connect to the server itself: --host and --port"),
        )


def _missing(
    requirements: Requirements, surroundings: Surroundings, *, creates_roles: bool, owner: str
) -> Iterator[Problem]:
    absent = sorted(set(requirements.extensions) - set(surroundings.extensions))
    if absent:
        names = ", ".join(f"{name} {requirements.extensions[name]}" for name in absent)
        yield Problem(
            message=_("the server lacks extensions: {names}").format(names=names),
            hint=_("install them in the image, or restore into the image that the backup came from"),
        )
    for name, version in sorted(requirements.extensions.items()):
        offered = surroundings.extensions.get(name)
        if offered and offered != version:
            yield Problem(
                message=_("extension {name} was {version}, this server has {offered}").format(
                    name=name, version=version, offered=offered
                ),
                is_warning=True,
            )
    roles = sorted(({owner} | set(requirements.roles)) - surroundings.roles - {""})
    if roles and not creates_roles:
        yield Problem(
            message=_("the server lacks roles: {names}").format(names=", ".join(roles)),
            hint=_("create them from the backup with --globals"),
        )
    tablespaces = sorted(set(requirements.tablespaces) - surroundings.tablespaces)
    if tablespaces:
        yield Problem(
            message=_("the server lacks tablespaces: {names}; all goes to the database's own").format(
                names=", ".join(tablespaces)
            ),
            hint=_("create them with CREATE TABLESPACE"),
            is_warning=True,
        )


def _collation(requirements: Requirements, creation: Creation, surroundings: Surroundings) -> Iterator[Problem]:
    offered = {_plain(locale) for locale in surroundings.locales} | {"", "c", "posix"}
    wanted = {creation.collation, creation.ctype}
    absent = sorted(locale for locale in wanted if _plain(locale) not in offered) if surroundings.locales else []
    if absent and creation.provider == "libc":
        yield Problem(
            message=_("the server lacks the collation {names}").format(names=", ".join(absent)),
            hint=_("restore into an image with that locale, such as the one that the backup came from"),
        )
    was, now = requirements.collation_version, surroundings.collation_version
    if was and now and was != now:
        yield Problem(
            message=_("collation version was {was}, this server has {now}: text may sort differently").format(
                was=was, now=now
            ),
            is_warning=True,
        )


def _plain(locale: str) -> str:
    """Return a locale's name without what the C library reads over: ``C.UTF-8`` is ``C.utf8``."""
    return locale.lower().replace("-", "")


def _space(requirements: Requirements, surroundings: Surroundings, *, in_place: bool) -> Iterator[Problem]:
    needed = round(requirements.size_bytes * _SPACE_FACTOR)
    free = surroundings.free_bytes
    if free is not None and in_place and surroundings.live is not None:
        free += surroundings.live.size_bytes
    if free is not None and needed > free:
        yield Problem(
            message=_("the server's disk has {free} free, the restore needs about {needed}").format(
                free=format_size(free), needed=format_size(needed)
            ),
            hint=_("free space, or replace the database without keeping both: --in-place"),
        )


def _live(live: LiveDatabase, role: str) -> Iterator[Problem]:
    if not live.is_ours:
        yield Problem(
            message=_("{database} belongs to {owner}: role {role} may not replace it").format(
                database=live.name, owner=live.owner, role=role
            ),
            hint=_("use its owner or a superuser: --user"),
        )
    if live.slots:
        yield Problem(
            message=_("{database} has logical replication slots: {names}").format(
                database=live.name, names=", ".join(live.slots)
            ),
            hint=_("drop them with pg_drop_replication_slot, or restore beside it with --to"),
        )
    if live.subscriptions:
        yield Problem(
            message=_("{database} has subscriptions: {names}").format(
                database=live.name, names=", ".join(live.subscriptions)
            ),
            hint=_("drop them with DROP SUBSCRIPTION, or restore beside it with --to"),
        )
    if live.prepared:
        yield Problem(
            message=ngettext(
                "{database} has {count} prepared transaction",
                "{database} has {count} prepared transactions",
                live.prepared,
            ).format(database=live.name, count=live.prepared),
            hint=_("commit them or roll them back: see pg_prepared_xacts"),
        )


def stopping(problems: Sequence[Problem]) -> list[Problem]:
    """Return those that stop the restore."""
    return [problem for problem in problems if not problem.is_warning]
