"""A schedule as systemd's units: a timer, and the service that it starts (systemd.timer(5), systemd.time(7))."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from respaldo.schedule.expression import CronExpression
from respaldo.schedule.plan import Launch, Schedule

_DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_SPANS: Final = ((0, 60), (0, 24), (1, 32), (1, 13), (0, 7))


def write_units(schedule: Schedule, launch: Launch) -> Mapping[str, str]:
    """Return the text of each unit by its file's name."""
    unit = unit_of(schedule.name)
    calendar = "".join(f"OnCalendar={line}\n" for line in write_calendar(schedule.expression, schedule.time_zone))
    jitter = f"RandomizedDelaySec={schedule.jitter_s}s\n" if schedule.jitter_s else ""
    variables = "".join(
        f"Environment={_quote(f'{name}={value}')}\n" for name, value in sorted(launch.variables.items())
    )
    command = " ".join(_quote(word, is_command=True) for word in launch.argv)
    directory = str(launch.directory).replace("%", "%%")
    title = schedule.title.replace("%", "%%")
    return {
        f"{unit}.service": (
            # After alone orders what something else starts; a missed run is made up for while the machine boots.
            f"[Unit]\nDescription=respaldo {title}\nWants=network-online.target\n"
            "After=network-online.target docker.service\n\n"
            f"[Service]\nType=oneshot\nWorkingDirectory={directory}\n{variables}ExecStart={command}\n"
            # Exit 3: done, with warnings. What runs beside the server must come to an end of its own.
            "SuccessExitStatus=3\nKillMode=mixed\nTimeoutStopSec=2min\n"
        ),
        f"{unit}.timer": (
            f"[Unit]\nDescription=respaldo {title}\n\n"
            f"[Timer]\n{calendar}{jitter}AccuracySec=1s\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n"
        ),
    }


def unit_of(name: str) -> str:
    """Return the name of a schedule's units, without its ending."""
    return f"respaldo-{name}"


def write_calendar(expression: CronExpression, time_zone: str | None) -> list[str]:
    """Return the calendar events of a cron expression: two where a day is right by its date or by its weekday."""
    minutes, hours, dates, months = (_write(expression, position) for position in range(4))
    days = ",".join(_DAYS[day] for day in expression.values(4))
    is_any_day = len(expression.values(4)) == 7
    zone = f" {time_zone}" if time_zone else ""
    clock = f"{hours}:{minutes}:00{zone}"
    if expression.is_either_day:
        return [f"*-{months}-{dates} {clock}", f"{days} *-{months}-* {clock}"]
    return [f"{'' if is_any_day else days + ' '}*-{months}-{dates} {clock}"]


def _write(expression: CronExpression, position: int) -> str:
    values = expression.values(position)
    if values == list(range(*_SPANS[position])):
        return "*"
    return ",".join(f"{value:02}" for value in values)


def _quote(text: str, *, is_command: bool = False) -> str:
    """Quote a word by systemd.syntax(7): specifiers, and in a command variables too, mean themselves."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{text.replace("$", "$$") if is_command else text}"'
