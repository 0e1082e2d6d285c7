"""What is written for cron, systemd and Kubernetes: their lines, and everybody else's as they were."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.errors import DONE_WITH_WARNINGS, UsageError
from respaldo.operations.schedule_systemd import verify
from respaldo.schedule.cronjob import Surroundings, read_command, write_cronjob
from respaldo.schedule.crontab import LONGEST_LINE_BYTES, add_block, has_block, remove_block, write_block
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import Launch, Schedule, Trigger, check_name
from respaldo.schedule.systemd import write_calendar, write_units

ROOT = Path(__file__).parents[2]
REPOSITORY = Path("/srv/copias de seguridad")
SCHEDULE = Schedule(
    name="nightly",
    expression=parse_when("daily"),
    command=("backup", "--container", "pc_db"),
    trigger=Trigger.CRONTAB,
    created=datetime(2026, 11, 25, tzinfo=UTC),
)
LAUNCH = Launch(
    argv=("/usr/bin/python3", "-m", "respaldo", "--repository", str(REPOSITORY), "schedule", "run", "nightly"),
    directory=Path("/srv/app"),
    variables={"PATH": "/usr/bin:/bin", "RESPALDO_LANG": "es"},
    output=REPOSITORY / "scheduled_backups.out",
)
BLOCK = (
    b"# respaldo begin nightly '/srv/copias de seguridad'\n"
    b"0 2 * * * cd /srv/app && { o='/srv/copias de seguridad/scheduled_backups.out';"
    b' true >>"$o" && exec >>"$o" 2>&1; PATH=/usr/bin:/bin RESPALDO_LANG=es /usr/bin/python3 -m respaldo'
    b" --repository '/srv/copias de seguridad' schedule run nightly; }\n"
    b"# respaldo end nightly '/srv/copias de seguridad'\n"
)


def test_crontab_block_is_one_line_between_two_marks() -> None:
    assert write_block(SCHEDULE, LAUNCH, REPOSITORY) == BLOCK


def test_crontab_line_is_read_by_the_shell_as_it_was_meant() -> None:
    odd = {"RESPALDO_DATABASE": "100% $HOME 'x' \"y\" `id` \\", "PATH": "/a b:/c%d"}
    block = write_block(SCHEDULE, replace(LAUNCH, variables=odd, directory=Path("/srv/a%b")), REPOSITORY).decode()
    command = block.splitlines()[1].split(" ", 5)[5]
    assert "%" not in command.replace("\\%", "")
    # What cron hands to the shell.
    words = shlex.split(command.replace("\\%", "%"))
    assert words[:2] == ["cd", "/srv/a%b"]
    assert f"RESPALDO_DATABASE={odd['RESPALDO_DATABASE']}" in words
    assert f"PATH={odd['PATH']}" in words


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_crontab_line_starts_the_program_also_where_its_output_has_no_place(tmp_path: Path, shell: str) -> None:
    output = tmp_path / "a disk/out"
    launch = replace(LAUNCH, argv=("sh", "-c", "echo it ran; exit 7"), directory=tmp_path, output=output)
    command = write_block(SCHEDULE, launch, REPOSITORY).decode().splitlines()[1].split(" ", 5)[5]
    gone = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=False)
    assert (gone.returncode, gone.stdout) == (7, "it ran\n")
    output.parent.mkdir()
    there = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=False)
    assert (there.returncode, there.stdout, output.read_text()) == (7, "", "it ran\n")


@pytest.mark.parametrize("value", ["a\nb", "a\rb"])
def test_crontab_line_that_would_be_two_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        write_block(SCHEDULE, replace(LAUNCH, variables={"RESPALDO_DATABASE": value}), REPOSITORY)


def test_crontab_line_too_long_for_cron_is_refused() -> None:
    fits = LONGEST_LINE_BYTES - len(BLOCK.splitlines()[1]) + len("0 2 * * * ")
    write_block(
        SCHEDULE, replace(LAUNCH, variables={**LAUNCH.variables, "PATH": "/usr/bin:/bin" + "x" * fits}), REPOSITORY
    )
    longer = replace(LAUNCH, variables={**LAUNCH.variables, "PATH": "/usr/bin:/bin" + "x" * (fits + 1)})
    with pytest.raises(UsageError) as caught:
        write_block(SCHEDULE, longer, REPOSITORY)
    assert str(LONGEST_LINE_BYTES) in caught.value.message


THEIRS = st.lists(
    st.one_of(
        st.just(b"MAILTO=ops@example.com\n"),
        st.just(b"# respaldo begin other /x\n1 2 3 4 5 x\n# respaldo end other /x\n"),
        st.just("5 4 * * * echo ñ \\% \xa0\n".encode("latin-1")),
        st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"") + b"\n"),
    ),
    max_size=6,
).map(b"".join)


@settings(max_examples=60)
@given(before=THEIRS, after=THEIRS)
def test_crontab_of_others_stays_to_the_byte(before: bytes, after: bytes) -> None:
    added = add_block(before, "nightly", REPOSITORY, BLOCK)
    assert added == before + BLOCK
    assert has_block(added + after, "nightly", REPOSITORY)
    changed = BLOCK.replace(b"0 2", b"0 3")
    assert add_block(added + after, "nightly", REPOSITORY, changed) == before + changed + after
    assert remove_block(added + after, "nightly", REPOSITORY) == before + after
    assert remove_block(before + after, "nightly", REPOSITORY) == before + after


def test_crontab_whose_last_line_has_no_end_keeps_it_apart() -> None:
    assert add_block(b"1 2 3 4 5 x", "nightly", REPOSITORY, BLOCK) == b"1 2 3 4 5 x\n" + BLOCK


def test_crontab_block_of_another_repository_or_name_is_another() -> None:
    for name, repository in (("nightly2", REPOSITORY), ("nightly", Path("/srv/copias"))):
        assert not has_block(BLOCK, name, repository)
        assert remove_block(BLOCK, name, repository) == BLOCK


@pytest.mark.parametrize(
    "crontab",
    [
        BLOCK.replace(b"# respaldo end", b"1 2 3 4 5 mine\n# respaldo end"),
        BLOCK[: BLOCK.index(b"# respaldo end")] + b"1 2 3 4 5 mine\n",
        BLOCK[BLOCK.index(b"# respaldo end") :],
    ],
)
def test_crontab_block_changed_by_hand_is_not_touched(crontab: bytes) -> None:
    with pytest.raises(UsageError):
        remove_block(crontab, "nightly", REPOSITORY)
    with pytest.raises(UsageError):
        add_block(crontab, "nightly", REPOSITORY, BLOCK)


@pytest.mark.parametrize(
    ("when", "zone", "lines"),
    [
        ("daily", None, ["*-*-* 02:00:00"]),
        ("hourly", None, ["*-*-* *:00:00"]),
        ("weekly", "America/Montevideo", ["Sun *-*-* 02:00:00 America/Montevideo"]),
        ("monthly", None, ["*-*-01 02:00:00"]),
        ("workdays", None, ["Mon,Tue,Wed,Thu,Fri *-*-* 02:00:00"]),
        ("*/20 1-3 * 6,12 *", None, ["*-06,12-* 01,02,03:00,20,40:00"]),
        ("0 2 13 * 5", None, ["*-*-13 02:00:00", "Fri *-*-* 02:00:00"]),
    ],
)
def test_systemd_calendar_says_what_the_cron_expression_says(when: str, zone: str | None, lines: list[str]) -> None:
    assert write_calendar(parse_when(when), zone) == lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("when", ["daily", "*/7 */5 1-31/2 2,11 *", "0 2 13 * 5", "59 23 31 12 6"])
def test_systemd_reads_the_units(when: str) -> None:
    odd = {"RESPALDO_DATABASE": "100% $HOME 'x' \"y\" \\ ñ", "PATH": "/a b:/c%d"}
    units = write_units(
        replace(SCHEDULE, expression=parse_when(when), jitter_s=60, time_zone="Europe/Madrid"),
        replace(LAUNCH, argv=("/bin/echo", "50% of $HOME"), variables=odd, directory=Path("/tmp")),
    )
    verify(units)
    for line in write_calendar(parse_when(when), "Europe/Madrid"):
        subprocess.run(["systemd-analyze", "calendar", line], check=True, capture_output=True)


def test_systemd_units_hold_what_runs() -> None:
    units = write_units(replace(SCHEDULE, jitter_s=60), LAUNCH)
    service, timer = units["respaldo-nightly.service"], units["respaldo-nightly.timer"]
    assert 'ExecStart="/usr/bin/python3" "-m" "respaldo" "--repository" "/srv/copias de seguridad"' in service
    assert "Wants=network-online.target\nAfter=network-online.target docker.service\n" in service
    assert "WorkingDirectory=/srv/app\n" in service
    assert 'Environment="RESPALDO_LANG=es"\n' in service
    assert "OnCalendar=*-*-* 02:00:00\nRandomizedDelaySec=60s\n" in timer
    assert "Persistent=true" in timer


def test_cronjob_is_the_one_of_the_deployment() -> None:
    shipped = yaml.safe_load((ROOT / "deploy/kubernetes/cronjob.yaml").read_text())
    schedule = replace(SCHEDULE, name="respaldo", command=("backup",), time_zone="Etc/UTC")
    variables = {"POD_NAME": "postgres-0", "BACKUP_DIR": "/backups", "RESPALDO_LANG": "es"}
    image = shipped["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert write_cronjob(schedule, Surroundings(image=image, variables=variables)) == shipped


def test_cronjob_makes_no_second_backup_where_the_first_is_good() -> None:
    spec = write_cronjob(SCHEDULE, Surroundings(image="x:1"))["spec"]["jobTemplate"]["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
    assert (rule["onExitCodes"]["operator"], DONE_WITH_WARNINGS in rule["onExitCodes"]["values"]) == ("In", True)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # what the policy asks for


def test_cronjob_takes_secrets_by_reference_alone() -> None:
    document = write_cronjob(SCHEDULE, Surroundings(image="x:1", secret="respaldo", claim="c", account="a"))
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "respaldo"}}]
    assert (pod["serviceAccountName"], pod["volumes"][0]["persistentVolumeClaim"]) == ("a", {"claimName": "c"})
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
    assert "timeZone" not in document["spec"]
    assert read_command(document) == SCHEDULE.command


@pytest.mark.parametrize("name", ["a", "respaldo-daily", "0", "a" * 52])
def test_name_that_everything_takes_is_good(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a b", "a/b", "../x", "ñ", "a\n", "a" * 53])
def test_name_that_something_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)
