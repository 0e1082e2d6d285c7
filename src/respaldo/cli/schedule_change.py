"""``respaldo schedule add`` and ``remove``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import click

from respaldo import __version__
from respaldo.app import App
from respaldo.cli import schedule_launch
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output
from respaldo.cli.schedule_command import check_command, settings_of_command
from respaldo.config.settings import Settings
from respaldo.errors import RespaldoError, UsageError
from respaldo.language import _, choose_language
from respaldo.operations.runs import forget_schedule
from respaldo.operations.schedules import drop_schedule, put_schedule, read_schedules, schedule_document, zone_of
from respaldo.schedule.cronjob import Surroundings, write_cronjob
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import Schedule, Trigger, check_name
from respaldo.schedule.slots import is_same_zone, local_zone, local_zone_name, next_slot
from respaldo.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRequest:
    """What a person wants to be scheduled. ``trigger``: None for what suits the environment."""

    name: str
    when: str
    words: tuple[str, ...] = ("backup",)
    trigger: Trigger | None = None
    jitter_s: int = 0
    replace: bool = False
    dry_run: bool = False
    image: str = f"respaldo:{__version__}"
    claim: str = "respaldo-backups"
    account: str = "respaldo"
    secret: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the runs, beside those of the environment; no secrets."""


@click.command("add", short_help=_("have a command run by itself"))
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[-- COMMAND]")
@click.option(
    "--at",
    "when",
    default="daily",
    metavar="WHEN",
    help=_("hourly, daily, weekly, monthly, workdays, or a cron expression of five fields [default: daily]"),
)
@click.option(
    "--with",
    "trigger",
    type=click.Choice([one.value for one in Trigger]),
    help=_("what starts the runs [default: kubernetes for a database there, else crontab]"),
)
@click.option(
    "--jitter", "jitter_s", metavar="SECONDS", type=click.IntRange(0, 86400), default=0,
    help=_("begin up to so many seconds late, so that not all begin at once; systemd and serve only [default: 0]"),
)  # fmt: skip
@click.option("--replace", is_flag=True, help=_("replace the schedule of that name"))
@click.option("--dry-run", "--print", "dry_run", is_flag=True, help=_("print what would be written; write nothing"))
@click.option(
    "--image", metavar="IMAGE", default=f"respaldo:{__version__}",
    help=_("Kubernetes: the image of the CronJob [default: {value}]").format(value=f"respaldo:{__version__}"),
)  # fmt: skip
@click.option(
    "--claim", metavar="NAME", default="respaldo-backups",
    help=_("Kubernetes: the claim of the volume with the repository [default: {value}]").format(
        value="respaldo-backups"
    ),
)  # fmt: skip
@click.option(
    "--service-account", "account", metavar="NAME", default="respaldo",
    help=_("Kubernetes: the account that it runs as [default: {value}]").format(value="respaldo"),
)  # fmt: skip
@click.option("--secret", metavar="NAME", help=_("Kubernetes: a Secret whose keys become variables of the runs"))
@setting_options("namespace", "context", "time_zone")
@json_option
@click.pass_context
def add(
    context: click.Context,
    /,
    flags: dict[str, Any],
    name: str,
    words: tuple[str, ...],
    trigger: str | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Add a schedule."""
    request = AddRequest(name=name, words=words or ("backup",), trigger=Trigger(trigger) if trigger else None, **asked)
    run_add_command(context.obj, load_settings(context, flags), request, as_json=as_json)


add.help = _(
    """Have a command run by itself: backup, retain, check, drill or status, with its own options after --.

In the user's crontab it is one line between two marks; with systemd a timer; in Kubernetes a CronJob as in
deploy/kubernetes; for respaldo serve an entry in schedules.json. Passwords and tokens are written into none of them:
they come from .env of the directory that this is called in, from the container, or from a Kubernetes Secret.

\b
Examples:
  respaldo schedule add nightly
  respaldo schedule add shop --at "30 1 * * 1-5" -- backup --container pc_db
  respaldo schedule add proof --at weekly -- drill --due 7
  respaldo schedule add nightly --with kubernetes --print -- backup --pod postgres-0

\b
Exit codes: 0 done; 2 wrong use, or a name in use; 20 storage; 40 cron, systemd or the cluster refuses.
"""
)


@click.command("remove", short_help=_("remove a schedule"))
@click.argument("name")
@click.option("--dry-run", is_flag=True, help=_("say what would be removed; remove nothing"))
@setting_options("environment", "namespace", "context")
@click.pass_context
def remove(context: click.Context, /, flags: dict[str, Any], name: str, dry_run: bool) -> None:
    """Remove a schedule."""
    run_remove_command(context.obj, load_settings(context, flags), name, dry_run=dry_run)


remove.help = _(
    """Remove a schedule from the crontab, from systemd, from the cluster, or from those of respaldo serve.

Backups stay, and so does what is noted of its runs.

\b
Examples:
  respaldo schedule remove nightly
  respaldo schedule remove nightly --environment kubernetes

\b
Exit codes: 0 done; 2 no such schedule; 20 storage; 40 cron, systemd or the cluster refuses.
"""
)


def run_add_command(output: Output, settings: Settings, request: AddRequest, *, as_json: bool = False) -> None:
    """Check all of it, then schedule; what ``respaldo schedule add`` and the flat flags both do."""
    app = App(settings)
    command = check_command(request.words)
    trigger = request.trigger or _choose_trigger(output, command, settings)
    schedule = Schedule(
        name=check_name(request.name),
        expression=parse_when(request.when),
        command=command,
        trigger=trigger,
        created=app.clock.now(),
        time_zone=settings.time_zone,
        jitter_s=request.jitter_s,
    )
    if schedule.jitter_s and trigger in {Trigger.CRONTAB, Trigger.KUBERNETES}:
        raise UsageError(
            _("{flag} says nothing about {action}").format(flag="--jitter", action=trigger.value),
            hint=_("give each schedule a minute of its own, such as --at '17 2 * * *'"),
        )
    if trigger is Trigger.KUBERNETES:
        schedule = _in_cluster(app, schedule, request)
    else:
        _on_machine(output, app, schedule, request)
    if as_json and not request.dry_run:
        output.print_json(schedule_document(schedule))
    elif not request.dry_run:
        _tell(output, app, schedule)


def run_remove_command(output: Output, settings: Settings, name: str, *, dry_run: bool = False) -> None:
    """Remove; what ``respaldo schedule remove`` and the flat flags both do."""
    from respaldo.cli.schedule_show import find_cluster, is_cluster_meant

    app = App(settings)
    names = [one.name for one in read_schedules(app.records)]
    cluster = find_cluster(app) if name not in names and is_cluster_meant(app) else None
    if dry_run:
        from respaldo.operations.schedules import no_schedule

        there = [*names, *(one.name for one in (cluster.list() if cluster else []))]
        if name not in there:
            raise no_schedule(name, there)
        print(_("would remove {name}").format(name=name))
        return
    if cluster is not None:
        cluster.remove(name)
    else:
        drop_schedule(app.records, name, lambda one: _uninstall(app, one))
        forget_schedule(app.records, name)
    if not output.quiet:
        print(_("{name}  removed; its backups stay").format(name=name))


def _choose_trigger(output: Output, command: Sequence[str], settings: Settings) -> Trigger:
    """Return what suits the environment that the command will find."""
    meant = settings_of_command(command, settings)
    if meant.environment == "kubernetes" or meant.pod:
        return Trigger.KUBERNETES
    if meant.environment in {"docker", "local"} or meant.container or meant.host:
        return Trigger.CRONTAB
    try:
        name = App(meant).find_environment().name
    except RespaldoError as error:
        output.warn(error.message)
        return Trigger.CRONTAB
    return Trigger.KUBERNETES if name == "kubernetes" else Trigger.CRONTAB


def _on_machine(output: Output, app: App, schedule: Schedule, request: AddRequest) -> None:
    """Have cron, systemd or ``respaldo serve`` start a schedule's runs."""
    from respaldo.operations import schedule_crontab, schedule_systemd
    from respaldo.schedule.crontab import write_block
    from respaldo.schedule.systemd import write_units

    launch = schedule_launch.build_launch(app, schedule.name, request.variables)
    if schedule.trigger is Trigger.CRONTAB:
        _require_zone_of_machine(app, schedule)
        block = write_block(schedule, launch, app.records)
        if request.dry_run:
            print(block.decode(), end="")
            return

        def install() -> None:
            schedule_crontab.install(schedule, launch, app.records)
    elif schedule.trigger is Trigger.SYSTEMD:
        units = write_units(schedule, launch)
        if request.dry_run:
            schedule_systemd.verify(units)
            print("\n".join(f"# {name}\n{text}" for name, text in units.items()), end="")
            return

        def install() -> None:
            schedule_systemd.Systemd().install(schedule, launch, replace=request.replace)
    else:
        if request.dry_run:
            output.print_json(schedule_document(schedule))
            return

        def install() -> None:
            """Leave it to the document: ``respaldo serve`` reads that."""

    others = [
        one for one in read_schedules(app.records) if one.name == schedule.name and one.trigger is not schedule.trigger
    ]

    def move() -> None:
        install()
        try:
            for one in others:
                _uninstall(app, one)
        except BaseException:
            # It stays where it was, and there alone.
            with suppress(RespaldoError):
                _uninstall(app, schedule)
            raise

    put_schedule(app.records, schedule, move, replace=request.replace)
    if schedule.trigger is not Trigger.SERVE:
        _warn_of_secrets(output)
    if schedule.trigger is Trigger.CRONTAB and not schedule_crontab.is_cron_running():
        output.warn(_("no cron daemon seems to run on this machine; nothing will start the runs until one does"))


def _in_cluster(app: App, schedule: Schedule, request: AddRequest) -> Schedule:
    """Have a cluster start a schedule's runs; return it with the time zone that it got."""
    import dataclasses

    import yaml

    from respaldo.cli.schedule_show import find_cluster

    # Whoever writes 02:00 means it where they are, and a cluster's own clock is mostly UTC.
    zone = schedule.time_zone or local_zone_name() or "Etc/UTC"
    schedule = dataclasses.replace(schedule, time_zone=zone)
    surroundings = Surroundings(
        image=request.image,
        claim=request.claim,
        account=request.account,
        secret=request.secret,
        variables={**request.variables, **schedule_launch.cluster_variables(choose_language(os.environ))},
    )
    document = write_cronjob(schedule, surroundings)
    if request.dry_run:
        print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), end="")
    else:
        # The pod runs beside the database that it backs up.
        meant = settings_of_command(schedule.command, app.settings)
        namespace = app.settings.namespace or meant.namespace
        there = App(dataclasses.replace(app.settings, namespace=namespace), clock=app.clock)
        find_cluster(there).put(document, replace=request.replace)
    return schedule


def _uninstall(app: App, schedule: Schedule) -> None:
    from respaldo.operations import schedule_crontab, schedule_systemd

    if schedule.trigger is Trigger.CRONTAB:
        schedule_crontab.uninstall(schedule, app.records)
    elif schedule.trigger is Trigger.SYSTEMD:
        schedule_systemd.Systemd().uninstall(schedule)


def _require_zone_of_machine(app: App, schedule: Schedule) -> None:
    zone = app.settings.zone
    if zone is not None and not is_same_zone(zone, local_zone(), app.clock.now()):
        raise UsageError(
            _("cron goes by this machine's time zone, which is not {zone}").format(zone=zone.key),
            hint=_("leave --time-zone out, or let another start the runs: --with systemd, --with serve"),
        )


def _warn_of_secrets(output: Output) -> None:
    lost = schedule_launch.unwritten_secrets()
    if lost:
        output.warn(
            _("{names} was not written down; put it into .env of this directory, mode 0600").format(
                names=", ".join(lost)
            )
        )
    if schedule_launch.is_dotenv_open():
        output.warn(_("others may read .env, which holds secrets: chmod 600 .env"))


def _tell(output: Output, app: App, schedule: Schedule) -> None:
    where = zone_of(schedule, app.settings.zone)
    now = app.clock.now()
    slot = next_slot(schedule.expression, where, now)
    if output.quiet:
        return
    print(
        _("{name}  scheduled with {trigger}: {expression}").format(
            name=schedule.name, trigger=schedule.trigger.value, expression=schedule.expression
        )
    )
    if slot is not None:
        output.line(
            _("next run"),
            _("{time}, in {duration}").format(
                time=f"{slot.astimezone(where):%Y-%m-%d %H:%M %Z}",
                duration=format_duration((slot - now).total_seconds()),
            ),
        )
