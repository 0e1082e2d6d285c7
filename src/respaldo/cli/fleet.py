"""``respaldo backup --all`` and ``--all-databases``: every target that there is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from respaldo.app import App
from respaldo.cli.announcing import Announcing
from respaldo.cli.documents import fleet_document
from respaldo.cli.fleet_flags import FleetFlags
from respaldo.cli.printing import Output, format_table
from respaldo.config.settings import Settings
from respaldo.errors import DONE_WITH_WARNINGS, RespaldoError, UsageError
from respaldo.events import Event, Warned
from respaldo.language import _, ngettext
from respaldo.notify.notice import Operation
from respaldo.operations.fleet import FleetBackup, FleetResult, FleetTask, JobBackup, find_missing, run_fleet
from respaldo.operations.watch import watch_backup
from respaldo.units import format_size

if TYPE_CHECKING:
    from respaldo.environments.base import Environment, Instance
    from respaldo.postgres.server import Server
    from respaldo.repository.repository import Repository


def run_fleet_command(
    output: Output, settings: Settings, asked: str | None, fleet: FleetFlags, *, as_json: bool
) -> None:
    """Back up every database of one instance, or of every instance that is found; print a table of all.

    Raise RespaldoError (exit 1) where one failed, once all were tried; UsageError where there is nothing to back up.
    """
    app = App(settings)
    with Announcing(output, app, Operation.BACKUP) as announcing:
        _run_fleet(output, app, announcing, asked, fleet, as_json=as_json)


def _run_fleet(
    output: Output, app: App, announcing: Announcing, asked: str | None, fleet: FleetFlags, *, as_json: bool
) -> None:
    lock = threading.Lock()
    environment = app.find_environment()
    known: Collection[str] = ()
    repository: Repository | None = None
    if fleet.as_jobs:
        from respaldo.cli.fleet_jobs import plan_jobs

        plan: Callable[[Server, str], FleetBackup | JobBackup] = plan_jobs(app, environment, fleet, asked)
    else:
        repository = app.open_or_create_repository()
        retired = app.settings.retired or ()
        known = {target.instance for target in repository.targets() if str(target) not in retired}
        plan = partial(_back_up, app, repository, asked, output, lock)
    instances = app.find_instances(environment, every=fleet.every_instance)
    found: dict[str, Collection[str] | None] = {instance.name: None for instance in instances}
    tasks = list(_tasks(app, environment, _wanted(instances, known, output), plan, output, found))
    is_complete = repository is None or _is_complete(output, app, environment, repository, fleet, found)
    if not tasks:
        raise UsageError(_("there is nothing to back up"), hint=_("start a PostgreSQL container, or name one"))
    output.line(environment.name, ngettext("{count} target", "{count} targets", len(tasks)).format(count=len(tasks)))

    def told(result: FleetResult) -> None:
        with lock:
            output.line("", f"{result.instance}/{result.database}  {_outcome(result)}")

    results = run_fleet(tasks, at_once=fleet.limit, told=told)
    output.targets += [f"{result.instance}/{result.database}" for result in results]
    output.backups += [result.manifest for result in results if result.manifest]
    for result in results:
        _announce(announcing, result)
    if as_json:
        output.print_json([fleet_document(result) for result in results])
    else:
        print(_table(results))
    failed = [f"{result.instance}/{result.database}" for result in results if result.error]
    if failed:
        raise RespaldoError(
            _("{count} of {all} failed: {names}").format(count=len(failed), all=len(results), names=", ".join(failed)),
            hint=_("the table says why; the others are committed"),
        )
    if not is_complete or any(made.failures for result in results if (made := result.backup or result.job)):
        raise click.exceptions.Exit(DONE_WITH_WARNINGS)


def _wanted(instances: Sequence[Instance], known: Collection[str], output: Output) -> list[Instance]:
    """Leave out what ended as it was meant to, and say so; not what has backups here: of that one is missing now."""
    kept = []
    for instance in instances:
        if instance.should_run or instance.is_running or instance.name in known:
            kept.append(instance)
        else:
            _leave_out(
                output, instance.name, _("it does not run ({state}), nor should it").format(state=instance.state)
            )
    return kept


def _is_complete(
    output: Output,
    app: App,
    environment: Environment,
    repository: Repository,
    fleet: FleetFlags,
    found: Mapping[str, Collection[str] | None],
) -> bool:
    """Warn of each target that was backed up and is not there any more, where all are meant; return False then."""
    settings = app.settings
    if not fleet.every_instance or settings.names_an_instance:
        return True
    sees_all = environment.name == "docker" or (environment.name == "kubernetes" and settings.all_namespaces)
    retired = settings.retired or ()
    missing = find_missing(repository, environment.name, found, sees_all=sees_all, retired=retired)
    for target in missing:
        output.warn(_("{target} has backups here, and is not there any more").format(target=target))
    if missing:
        names = ",".join([*retired, *map(str, missing)])
        output.hint(_("if nobody expects a backup of it any more: RESPALDO_RETIRED={names}").format(names=names))
    return not missing


def _leave_out(output: Output, name: str, reason: str) -> None:
    output.line("", _("{name} is left out: {reason}").format(name=name, reason=reason))


def _tasks(
    app: App,
    environment: Environment,
    instances: Sequence[Instance],
    back_up: Callable[[Server, str], FleetBackup | JobBackup],
    output: Output,
    found: dict[str, Collection[str] | None],
) -> Iterator[FleetTask]:
    """Yield a task for each database of each instance; one that fails where an instance cannot even be asked. Of
    replicas one is read. ``found``: is given the databases of each that was asked."""
    from respaldo.operations.members import one_of_each

    servers: list[Server] = []
    for instance in instances:
        try:
            servers.append(app.connect(environment, instance))
        except RespaldoError as error:
            yield FleetTask(instance=instance.name, database="*", run=partial(_fail, error))
    facts = [(server.runner.instance, server.facts) for server in servers]
    kept = one_of_each(facts, wants_standby=app.settings.standby)
    for server in servers:
        instance = server.runner.instance
        if instance not in kept:
            _leave_out(output, instance.name, _("another of its replicas is read"))
            continue
        try:
            databases = list_databases(server)
        except RespaldoError as error:
            yield FleetTask(instance=instance.name, database="*", run=partial(_fail, error))
            continue
        found[instance.name] = databases
        for database, reason in databases.items():
            if reason:
                _leave_out(output, f"{instance.name}/{database}", reason)
            else:
                yield FleetTask(instance=instance.name, database=database, run=partial(back_up, server, database))


def list_databases(server: Server) -> dict[str, str]:
    """Return the databases of a server that hold anything, and why each is left out, ``""`` for one that is not.
    Templates and an empty ``postgres`` are not named."""
    from respaldo.postgres.databases import is_left_by_restore

    select = "SELECT datname, datallowconn FROM pg_catalog.pg_database WHERE NOT datistemplate ORDER BY 1"
    with server.open_session() as session:
        found = {str(row["datname"]): bool(row["datallowconn"]) for row in session.query(select)}
    names: dict[str, str] = {}
    for name, is_open in found.items():
        if is_left_by_restore(name):
            names[name] = _("a restore keeps or fills it; --database takes it")
        elif not is_open:
            names[name] = _("it takes no connections")
        elif name != "postgres" or len(found) == 1 or _holds_tables(server, name):
            names[name] = ""
    return names


def _holds_tables(server: Server, database: str) -> bool:
    from respaldo.postgres.tables import list_tables

    with server.open_session(database) as session:
        return bool(list_tables(session))


def _fail(error: RespaldoError) -> FleetBackup:
    raise error


def _back_up(
    app: App,
    repository: Repository,
    asked: str | None,
    output: Output,
    lock: threading.Lock,
    server: Server,
    database: str,
) -> FleetBackup:
    from respaldo.operations.backup import run_backup
    from respaldo.operations.hooks import run_hooked
    from respaldo.operations.retain import apply_retention

    warnings: list[str] = []
    failures: list[str] = []

    def warn(message: str) -> None:
        with lock:
            output.warn(f"{database}: {message}")

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            warnings.append(event.message)
            warn(event.message)

    there = app.reconnect(server, database)
    target = app.target_of(there)
    request = app.backup_request(name=None, asked=asked)
    manifest, hook_failure = run_hooked(
        there,
        target,
        app.hooks(),
        lambda: run_backup(there, repository, target, request, clock=app.clock, listen=listen),
    )
    anomalies = watch_backup(repository, manifest)
    try:
        apply_retention(repository, target, app.retention_policy(), now=app.clock.now())
    except RespaldoError as error:
        failures.append(_("old backups were not removed: {reason}").format(reason=error.message))
    if hook_failure is not None:
        failures.append(hook_failure.message)
    for message in (*(anomaly.text for anomaly in anomalies), *failures):
        warn(message)
    return FleetBackup(
        manifest=manifest, warnings=tuple(warnings), failures=tuple(failures), anomalies=tuple(anomalies)
    )


def _announce(announcing: Announcing, result: FleetResult) -> None:
    target, backup = f"{result.instance}/{result.database}", result.backup
    if backup is None:
        warnings = result.job.failures if result.job else ()
        announcing.note(target=target, error=result.error, warnings=warnings)
        return
    announcing.note(
        target=target,
        manifest=backup.manifest,
        seconds=(backup.manifest.finished - backup.manifest.started).total_seconds(),
        warnings=[*backup.warnings, *backup.failures],
        anomalies=backup.anomalies,
    )


def _outcome(result: FleetResult) -> str:
    if result.error is not None:
        return _("FAILED: {reason}").format(reason=result.error.message)
    if result.job is not None:
        return f"{result.job.name}  {format_size(result.job.stored_bytes)}"
    manifest = result.manifest
    return f"{manifest.name}  {format_size(manifest.totals.stored_bytes)}" if manifest else ""


def _type(result: FleetResult) -> str:
    if result.job is not None:
        return _(result.job.type)
    return _(result.manifest.type.value) if result.manifest else ""


def _table(results: Sequence[FleetResult]) -> str:
    header = [_("target"), _("type"), _("outcome")]
    rows = [[f"{one.instance}/{one.database}", _type(one), _outcome(one)] for one in results]
    return format_table([header, *rows])
