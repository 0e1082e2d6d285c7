"""The schedules of a repository: one document, ``schedules.json``, beside its backups.

Those of a Kubernetes cluster are its CronJobs (schedule_cluster.py), and stand in no document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from respaldo.errors import DamagedError, ObjectNotFoundError, UsageError
from respaldo.language import _
from respaldo.operations.runs import read_last_runs
from respaldo.repository.fields import FieldError, Fields, Json, as_object
from respaldo.repository.format import METADATA
from respaldo.repository.manifest import format_instant, seal, unseal
from respaldo.schedule.expression import parse_expression
from respaldo.schedule.plan import Schedule, Trigger, check_name
from respaldo.schedule.slots import local_zone, next_slot
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.files import held
from respaldo.units import MIB

DOCUMENT: Final = "schedules.json"
DECLARED: Final = f"{METADATA}/declared.json"
"""Those that ``respaldo serve`` was started with, for whoever asks what comes next; they run only while it does."""
FORMAT: Final = 1
_LOCK: Final = f"{METADATA}/schedules.lock"


def read_schedules(directory: Path) -> list[Schedule]:
    """Return the schedules of a repository by name; none where there is no document. Raise DamagedError for one that is
    not as it was written."""
    return stored_schedules(DirectoryStorage(directory))


def stored_schedules(storage: Storage, document: str = DOCUMENT) -> list[Schedule]:
    """Return those of the repository on a storage, as ``read_schedules`` does."""
    try:
        fields = unseal(storage.get(document, limit_bytes=MIB))
        if fields.count("format") != FORMAT:
            raise FieldError(_("the format {value} is not known").format(value=fields.count("format")))
        return sorted(map(_parse, fields.items("schedules")), key=lambda one: one.name)
    except ObjectNotFoundError:
        return []
    except (FieldError, UsageError) as error:
        raise DamagedError(
            _("{path} is damaged: {reason}").format(path=f"{storage.location}/{document}", reason=error),
            hint=_("move it away and add the schedules again; backups do not need it"),
        ) from error


def find_schedule(schedules: Sequence[Schedule], name: str) -> Schedule:
    """Return the schedule of a name, or raise UsageError that lists those that there are."""
    for one in schedules:
        if one.name == name:
            return one
    raise no_schedule(name, [one.name for one in schedules])


def no_schedule(name: str, names: Sequence[str]) -> UsageError:
    """Return the error for a name that no schedule has."""
    there = _("there are: {names}").format(names=", ".join(sorted(names))) if names else _("there is none at all")
    return UsageError(
        _("there is no schedule {name!r}; {others}").format(name=name, others=there),
        hint=_("see them: respaldo schedule list"),
    )


def already_scheduled(name: str) -> UsageError:
    """Return the error for a name that a schedule has already."""
    return UsageError(
        _("there is a schedule {name!r} already").format(name=name),
        hint=_("choose another name, replace it with --replace, or remove it: respaldo schedule remove {name}").format(
            name=name
        ),
    )


def put_schedule(directory: Path, schedule: Schedule, install: Callable[[], None], *, replace: bool) -> None:
    """Add a schedule and have it installed; neither where one of both fails. Raise UsageError for a name in use."""
    with held(str(directory / _LOCK)):
        before = read_schedules(directory)
        others = [one for one in before if one.name != schedule.name]
        if len(others) != len(before) and not replace:
            raise already_scheduled(schedule.name)
        _write(directory, [*others, schedule])
        try:
            install()
        except BaseException:
            _write(directory, before)
            raise


def drop_schedule(directory: Path, name: str, uninstall: Callable[[Schedule], None]) -> Schedule:
    """Have a schedule uninstalled, then remove it; return what it was."""
    with held(str(directory / _LOCK)):
        before = read_schedules(directory)
        found = find_schedule(before, name)
        uninstall(found)
        _write(directory, [one for one in before if one.name != name])
        return found


def zone_of(schedule: Schedule, zone: tzinfo | None) -> tzinfo:
    """Return the time zone that a schedule goes by: cron's is the machine's; ``zone``: where it names none itself."""
    if schedule.trigger is Trigger.CRONTAB:
        return local_zone()
    return ZoneInfo(schedule.time_zone) if schedule.time_zone else zone or local_zone()


def declare_schedules(directory: Path, schedules: Sequence[Schedule]) -> None:
    """Note which schedules ``respaldo serve`` was started with, in the place of those of its last start."""
    if schedules or read_declared(directory):
        _write(directory, schedules, DECLARED)


def read_declared(directory: Path) -> list[Schedule]:
    """Return the schedules that ``respaldo serve`` was started with last; none of a document that cannot be read, which
    its next start writes anew."""
    with suppress(DamagedError):
        return stored_schedules(DirectoryStorage(directory), DECLARED)
    return []


def next_backups(
    directory: Path, zone: tzinfo | None, *, now: datetime, others: Mapping[str, datetime] | None = None
) -> dict[str, datetime]:
    """Return when each target (``instance/database``) that a schedule backed up is backed up next. ``others``: when
    backups that are scheduled elsewhere run next, by the schedule's name."""
    try:
        schedules = [*read_schedules(directory), *read_declared(directory)]
    except DamagedError:
        # Told by whoever needs the schedules themselves; here nothing is missing but a time.
        schedules = []
    slots = [(name, slot) for name, slot in (others or {}).items()]
    for one in schedules:
        slot = next_slot(one.expression, zone_of(one, zone), now) if is_backup(one.command) else None
        if slot is not None:
            slots.append((one.name, slot))
    last = read_last_runs(directory)
    found: dict[str, datetime] = {}
    for name, slot in slots:
        for target in last[name].targets if name in last else ():
            found[target] = min(found.get(target, slot), slot)
    return found


def is_backup(command: Sequence[str]) -> bool:
    """Tell whether what is scheduled makes backups."""
    return tuple(command[:1]) == ("backup",)


def schedule_document(schedule: Schedule) -> dict[str, object]:
    """Return a schedule as JSON carries it, in the document and on the screen."""
    return {
        "name": schedule.name,
        "expression": schedule.expression.text,
        "time_zone": schedule.time_zone,
        "jitter_s": schedule.jitter_s,
        "command": list(schedule.command),
        "trigger": schedule.trigger.value,
        "created": format_instant(schedule.created),
    }


def _write(directory: Path, schedules: Sequence[Schedule], document: str = DOCUMENT) -> None:
    # Sealed: another hour is as good a document as the right one.
    listed = [schedule_document(one) for one in sorted(schedules, key=lambda one: one.name)]
    DirectoryStorage(directory).put(document, seal({"format": FORMAT, "schedules": listed}))


def _parse(item: Json) -> Schedule:
    fields = Fields(as_object(item, "schedules"))
    try:
        trigger = Trigger(fields.text("trigger"))
    except ValueError as error:
        raise FieldError(_("{field} is none that is known").format(field="trigger")) from error
    zone = fields.optional_text("time_zone")
    try:
        ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise FieldError(_("{field} is none that is known").format(field="time_zone")) from error
    return Schedule(
        name=check_name(fields.text("name")),
        expression=parse_expression(fields.text("expression")),
        time_zone=zone,
        jitter_s=fields.count("jitter_s"),
        command=fields.texts("command"),
        trigger=trigger,
        created=fields.instant("created"),
    )
