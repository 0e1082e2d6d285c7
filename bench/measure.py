"""One command run and measured: wall, processor, memory. Linux only.

Processor time is counted in three places that can be told apart: the command's own processes, the container that the
server runs in, and the container engine in between; and once over the whole machine, others' work included.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 0.1


class FailedError(Exception):
    """A measured command failed; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run took. ``host_peak_bytes``: the command's processes here. ``inside_peak_bytes``: those it started in
    the container, the server's own left out. ``load``: the machine's one-minute load when it began."""

    wall_s: float
    own_cpu_s: float
    container_cpu_s: float
    engine_cpu_s: float
    machine_cpu_s: float
    host_peak_bytes: int
    inside_peak_bytes: int
    load: float

    @property
    def cpu_s(self) -> float:
        """The processor time that nobody but this command caused. The engine's is not in it: others use that too."""
        return self.own_cpu_s + self.container_cpu_s


class ContainerProbe:
    """What the kernel counts for one container. ``main_pid``: its first process, as the host numbers it."""

    def __init__(self, main_pid: int) -> None:
        self._main_pid = main_pid
        self._shim = _parent_of(main_pid)
        self._usage, self._unit_s = _usage_file(main_pid)
        self._engine = [pid for pid in _pids() if _name_of(pid) in {"dockerd", "containerd"}] + [self._shim]

    def container_cpu_s(self) -> float:
        for line in self._usage.read_text().splitlines():
            name, _, value = line.rpartition(" ")
            if name in {"", "usage_usec"}:
                return int(value) * self._unit_s
        return 0.0

    def engine_cpu_s(self) -> float:
        return sum(map(_cpu_s_of, self._engine))

    def inside_bytes(self) -> int:
        """What was started by exec stands beside the container's first process, under the same parent."""
        started = (pid for pid in _children(self._shim) if pid != self._main_pid)
        return sum(_peak_of(pid) for child in started for pid in _tree(child))


def measure(script: str, probe: ContainerProbe, *, variables: Mapping[str, str] | None = None) -> Figures:
    """Run a line of bash, every process of its pipes checked, and return its figures; raise FailedError."""
    os.sync()
    load = os.getloadavg()[0]
    container_s, engine_s, machine_s = probe.container_cpu_s(), probe.engine_cpu_s(), _machine_cpu_s()
    begun = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", script],
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    sampler = _Sampler(process.pid, probe)
    said = bytearray()
    reader = threading.Thread(target=_drain, args=(process, said))
    sampler.start()
    reader.start()
    try:
        _pid, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # the whole pipe: one left over would hold the container
        raise
    wall_s = time.monotonic() - begun
    sampler.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    if process.returncode != 0:
        raise FailedError(f"{script}: status {process.returncode}: {said[-2000:].decode(errors='replace')}")
    return Figures(
        wall_s=wall_s,
        own_cpu_s=usage.ru_utime + usage.ru_stime,
        container_cpu_s=probe.container_cpu_s() - container_s,
        engine_cpu_s=probe.engine_cpu_s() - engine_s,
        machine_cpu_s=_machine_cpu_s() - machine_s,
        host_peak_bytes=max(sampler.host_bytes, usage.ru_maxrss * 1024),
        inside_peak_bytes=sampler.inside_bytes,
        load=load,
    )


class _Sampler(threading.Thread):
    """Looks ten times a second at what each living process has taken at most."""

    def __init__(self, pid: int, probe: ContainerProbe) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._probe = probe
        self._ended = threading.Event()
        self.host_bytes = 0
        self.inside_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.host_bytes = max(self.host_bytes, sum(map(_peak_of, _tree(self._pid))))
            self.inside_bytes = max(self.inside_bytes, self._probe.inside_bytes())

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _drain(process: subprocess.Popen[bytes], into: bytearray) -> None:
    assert process.stderr is not None
    while data := process.stderr.read1(1 << 16):  # type: ignore[attr-defined]  # a BufferedReader
        into += data
        del into[: -(1 << 16)]


def _machine_cpu_s() -> float:
    """Everything but idle and waiting for the disk (proc(5), stat)."""
    fields = [int(value) for value in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def _usage_file(pid: int) -> tuple[Path, float]:
    """Return where the kernel counts a container's processor time, and the count's unit: cgroup version 1 or 2."""
    root = Path("/sys/fs/cgroup")
    for line in (_PROC / str(pid) / "cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return root / "cpuacct" / path.lstrip("/") / "cpuacct.usage", 1e-9
        if controllers == "" and (root / path.lstrip("/") / "cpu.stat").exists():
            return root / path.lstrip("/") / "cpu.stat", 1e-6
    raise FailedError("the kernel does not count this container's processor time")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _tree(pid: int) -> Iterable[int]:
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _peak_of(pid: int) -> int:
    with suppress(OSError, ValueError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _cpu_s_of(pid: int) -> float:
    with suppress(OSError):
        return (int(_stat(pid)[11]) + int(_stat(pid)[12])) / _TICKS
    return 0.0


def _name_of(pid: int) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / "comm").read_text().strip()
    return ""
