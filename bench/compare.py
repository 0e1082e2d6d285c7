"""The comparison: every contestant's full, then its incremental, on one database, in an order that turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.contestants import Contestant
from bench.database import Size
from bench.measure import Figures, measure
from bench.server import INSIDE, Bench


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run. ``stored_bytes``: what it added."""

    figures: Figures
    stored_bytes: int


@dataclass(slots=True)
class Results:
    """The runs of one contestant, in the order in which they were made."""

    contestant: Contestant
    full: list[Run] = field(default_factory=list)
    incremental: list[Run] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))


def compare(bench: Bench, contestants: Sequence[Contestant], size: Size, runs: int) -> list[Results]:
    """Measure; print a line for each run, because together they take minutes."""
    results = [Results(contestant) for contestant in contestants]
    for result in _in_turns(results, runs):
        one = result.contestant
        bench.remove(one.key)
        bench.as_root(f"mkdir -m 777 {INSIDE}/{one.key}")
        measure(one.prepare, bench.probe, variables=one.variables)
        result.full.append(_run(bench, one, one.full))
        _tell(one, "full", result.full[-1])
    bench.change(size)
    able = [result for result in results if result.contestant.incremental]
    for result in able:
        bench.copy(result.contestant.key, f"{result.contestant.key}_base")
    for result in _in_turns(able, runs):
        one = result.contestant
        bench.copy(f"{one.key}_base", one.key)
        result.incremental.append(_run(bench, one, one.incremental or ""))
        _tell(one, "incremental", result.incremental[-1])
    return results


def _in_turns(results: Sequence[Results], runs: int) -> Iterator[Results]:
    """Yield each ``runs`` times; each time another one is the first."""
    for number in range(runs):
        start = number % len(results)
        yield from (*results[start:], *results[:start])


def _run(bench: Bench, one: Contestant, script: str) -> Run:
    before = bench.size_of(one.counted_directory)
    if one.enter:
        measure(one.enter, bench.probe)
    figures = measure(script, bench.probe, variables=one.variables)
    if one.leave:
        measure(one.leave, bench.probe)
    return Run(figures=figures, stored_bytes=bench.size_of(one.counted_directory) - before)


def _tell(one: Contestant, what: str, run: Run) -> None:
    figures = run.figures
    print(
        f"  {what:<12}{one.title:<40}{figures.wall_s:7.1f} s {figures.cpu_s:7.1f} s cpu"
        f" {run.stored_bytes / 1e6:9.1f} MB  load {figures.load:.1f}",
        flush=True,
    )
