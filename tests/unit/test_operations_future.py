"""A backup that was made while the clock was ahead: nobody knows how old it is, so it keeps nothing fresh."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from respaldo.app import App
from respaldo.catalog.retention import RetentionPolicy
from respaldo.catalog.strategy import StrategyPolicy
from respaldo.cli.printing import Output
from respaldo.cli.restore import _describe
from respaldo.clock import CORRECTION, FixedClock
from respaldo.config.settings import Settings
from respaldo.notify.notice import Kind
from respaldo.operations.alert_state import AlertStore
from respaldo.operations.doctor import State, _age
from respaldo.operations.restore import RestorePlan, RestoreRequest
from respaldo.operations.status import read_status, sample_of
from respaldo.operations.summary import SummaryPolicy, summarize
from tests.unit.announcing import DAY, START, World

YEARS = timedelta(days=3650)


def make_ahead(world: World, ahead: timedelta = YEARS) -> None:
    """Back up, and tell, while the clock is ahead; then put it right."""
    right = world.clock.instant
    world.clock.instant = right + ahead
    world.succeed()
    world.clock.instant = right


def test_what_it_hides_is_late_everywhere() -> None:
    world = World()
    world.succeed()
    make_ahead(world)
    world.channel.taken.clear()
    world.sleep(days=10)
    now = world.clock.now()
    state = AlertStore(world.storage, world.clock).read()
    targets = read_status(world.repository, state, rpo=DAY, now=now)
    assert [(one.is_fresh, one.age) for one in targets] == [(False, 10 * DAY)]
    sample = sample_of(targets, state, version="1", repository="r", rpo=DAY, rto_s=1)
    assert [one.last_backup for one in sample.targets] == [START]
    policy = SummaryPolicy(rpo=DAY, retention=RetentionPolicy(), strategy=StrategyPolicy())
    assert [one.meets_rpo for one in summarize(world.repository, policy, now=now)] == [False]
    for _hour in range(48):
        world.look()
        world.sleep(hours=1)
    assert world.channel.kinds == [Kind.OVERDUE] * 2
    world.succeed()
    world.look()
    assert world.channel.kinds[2:] == [Kind.RECOVERY]
    (status,) = read_status(world.repository, state, rpo=DAY, now=world.clock.now())
    assert status.is_fresh


def test_where_there_is_no_other_that_is_told_with_its_name() -> None:
    world = World()
    make_ahead(world)
    world.channel.taken.clear()
    world.look()
    assert world.channel.kinds == [Kind.OVERDUE]
    assert "backup_20360227_020000" in world.channel.taken[0].body


def test_a_clock_that_was_put_right_by_little_changes_nothing() -> None:
    world = World()
    make_ahead(world, CORRECTION)
    (status,) = read_status(world.repository, AlertStore(world.storage, world.clock).read(), rpo=DAY, now=START)
    assert (status.is_fresh, status.age) == (True, timedelta())


@pytest.mark.parametrize("has_other", [True, False])
def test_doctor_names_it_and_the_newest_whose_age_is_known(has_other: bool) -> None:
    world = World()
    if has_other:
        world.succeed()
    make_ahead(world)
    (target,) = world.repository.targets()
    symptoms = list(_age(world.repository.backups(target).manifests, now=START + DAY / 2, objective=DAY))
    assert [one.state for one in symptoms] == ([State.GOOD, State.NOTE] if has_other else [State.BAD])
    assert "backup_20260301_020000" in symptoms[0].text or not has_other
    assert "backup_20360227_020000" in symptoms[-1].text
    assert "respaldo backup --type full" in symptoms[-1].remedy


@pytest.mark.parametrize(
    ("made", "said"), [(START + YEARS, "2036-02-2"), (START + CORRECTION, " 0.0 s"), (START - DAY, "1 d 0 h")]
)
def test_a_restore_says_of_no_backup_that_it_is_less_than_nothing_old(
    made: datetime, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = RestorePlan(
        source="b1",
        database="d",
        live=None,
        has_leftovers=False,
        old=None,
        made=made,
        filling="f",
        problems=(),
        request=RestoreRequest(),
    )
    _describe(Output(), plan, App(Settings(), clock=FixedClock(START)))
    shown = "".join(capsys.readouterr())
    assert said in shown
    assert "-" not in shown.replace("2036-02-2", "")
