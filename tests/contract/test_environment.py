"""Every environment passes this suite: bytes, ends, statuses, and what may never be seen."""

from __future__ import annotations

import hashlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from respaldo.environments.base import InstanceQuery, Process, Runner
from respaldo.environments.kubernetes_process import V4
from respaldo.environments.kubernetes_runner import PROTOCOLS
from respaldo.environments.tail import TAIL_BYTES
from respaldo.errors import EnvironmentFailedError, StreamCutError
from tests.contract.environments import Bench, docker_bench, kubernetes_bench, local_bench
from tests.rig.kube_cluster import KubernetesCluster

BLOCK = bytes(range(256)) + random.Random(7).randbytes((1 << 20) - 256)
BLOCKS = 64
DIGEST = hashlib.sha256(BLOCK * BLOCKS).hexdigest()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("kubernetes", marks=pytest.mark.kubernetes),
        pytest.param("kubernetes-v4", marks=pytest.mark.kubernetes),
        "local",
    ],
)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with ExitStack() as stack:
        if request.param == "docker":
            yield stack.enter_context(docker_bench())
        elif request.param == "local":
            yield stack.enter_context(local_bench(tmp_path_factory.mktemp("local")))
        else:
            cluster: KubernetesCluster = request.getfixturevalue("kubernetes_cluster")
            protocols = [V4] if request.param == "kubernetes-v4" else PROTOCOLS
            yield stack.enter_context(kubernetes_bench(cluster, stack.enter_context(cluster.namespace()), protocols))


@pytest.fixture
def runner(bench: Bench) -> Runner:
    return bench.runner


def read_all(process: Process) -> bytes:
    return b"".join(iter(process.read, b""))


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def is_there(runner: Runner, mark: str) -> bool:
    """Tell whether a process with this word in its arguments still runs."""
    script = f'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " " | grep -q "{mark[0]}[{mark[1]}]{mark[2:]}"'
    return runner.run(["sh", "-c", script]).status == 0


def await_there(runner: Runner, mark: str) -> None:
    """Wait for a command to run: an environment may answer before it does."""
    limit = time.monotonic() + 10
    while not is_there(runner, mark):
        assert time.monotonic() < limit, f"{mark} does not run"
        pause(0.1)


def await_gone(runner: Runner, mark: str) -> None:
    limit = time.monotonic() + 10
    while is_there(runner, mark):
        assert time.monotonic() < limit, f"{mark} still runs"
        pause(0.1)


def test_output_of_64_mib_arrives_whole(bench: Bench) -> None:
    path = f"{bench.scratch}/block"
    assert bench.runner.run(["sh", "-c", 'cat > "$1"', "sh", path], stdin=BLOCK).status == 0
    script = f'i=0; while [ $i -lt {BLOCKS} ]; do cat "$1"; i=$((i+1)); done'
    digest = hashlib.sha256()
    with bench.runner.start(["sh", "-c", script, "sh", path]) as process:
        while data := process.read():
            assert len(data) <= 1 << 18
            digest.update(data)
        assert process.wait() == 0
    assert digest.hexdigest() == DIGEST


def test_input_of_64_mib_arrives_whole(runner: Runner) -> None:
    with runner.start(["sha256sum"], stdin=True) as process:
        for _turn in range(BLOCKS):
            process.write(memoryview(BLOCK))
        process.close_stdin()
        process.close_stdin()
        assert read_all(process).split()[0].decode() == DIGEST
        assert process.wait() == 0


def test_echo_with_reader_and_writer_at_once_returns_every_byte(runner: Runner) -> None:
    with runner.start(["cat"], stdin=True) as process:

        def feed() -> None:
            for _turn in range(BLOCKS):
                process.write(BLOCK)
            process.close_stdin()

        with ThreadPoolExecutor(1) as pool:
            fed = pool.submit(feed)
            digest = hashlib.sha256()
            while data := process.read(100_003):
                digest.update(data)
            fed.result()
        assert process.wait() == 0
    assert digest.hexdigest() == DIGEST


def test_read_returns_what_there_is_at_once(runner: Runner) -> None:
    with runner.start(["sh", "-c", "printf one; cat >/dev/null; printf two"], stdin=True) as process:
        assert process.read() == b"one"
        process.close_stdin()
        assert process.read(2) == b"tw"
        assert process.read(2) == b"o"
        assert process.read() == b""
        assert process.read() == b""
        assert process.wait() == 0
        assert process.wait() == 0


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_status_after_output_is_the_commands_own(runner: Runner, status: int) -> None:
    completed = runner.run(["sh", "-c", f"echo text; exit {status}"])
    assert (completed.status, completed.stdout) == (status, b"text\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_status_of_a_killed_command_is_128_and_the_signal(runner: Runner, number: signal.Signals) -> None:
    assert runner.run(["sh", "-c", f"kill -{number.value} $$"]).status == 128 + number


@pytest.mark.parametrize("program", ["no-such-program", "/etc/passwd", "/no/such/file"])
def test_program_that_cannot_start_ends_as_in_a_shell(runner: Runner, program: str) -> None:
    completed = runner.run([program])
    assert completed.status in {126, 127}
    assert completed.stdout == b""
    assert completed.stderr


def test_errors_arrive_apart_and_bounded(runner: Runner) -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' e >&2; echo out; echo last >&2"
    completed = runner.run(["sh", "-c", script])
    assert completed.stdout == b"out\n"
    assert len(completed.stderr) == TAIL_BYTES
    assert completed.stderr.endswith(b"eelast\n")


def test_errors_that_nobody_reads_do_not_stop_output(runner: Runner) -> None:
    script = "i=0; while [ $i -lt 200 ]; do head -c 10000 /dev/zero >&2; head -c 10000 /dev/zero; i=$((i+1)); done"
    assert len(runner.run(["sh", "-c", script]).stdout) == 2_000_000


def test_slow_reader_holds_the_writer_back(bench: Bench) -> None:
    mark = f"{bench.scratch}/finished"
    script = 'rm -f "$1"; head -c 134217728 /dev/zero; echo > "$1"'
    with bench.runner.start(["sh", "-c", script, "sh", mark]) as process:
        process.read(1)
        pause(1.0)
        assert bench.runner.run(["test", "-e", mark]).status == 1, "the output was buffered whole somewhere"
        assert 1 + sum(len(data) for data in iter(process.read, b"")) == 134217728
        assert process.wait() == 0


def test_wait_discards_output_and_returns_the_status(runner: Runner) -> None:
    with runner.start(["sh", "-c", "head -c 10000000 /dev/zero; exit 5"]) as process:
        assert process.wait() == 5


def test_wait_past_its_time_is_a_cut(runner: Runner) -> None:
    with runner.start(["sleep", "60"]) as process, pytest.raises(StreamCutError):
        process.wait(timeout_s=0.3)


def test_terminal_is_never_there(runner: Runner) -> None:
    script = "for fd in 0 1 2; do test -t $fd && echo terminal; done; printf 'a\\nb\\r\\n\\004\\003'"
    for stdin in (None, b""):
        assert runner.run(["sh", "-c", script], stdin=stdin).stdout == b"a\nb\r\n\x04\x03"


def test_input_that_was_not_asked_for_is_empty(runner: Runner) -> None:
    assert runner.run(["cat"], timeout_s=10).stdout == b""
    with runner.start(["true"]) as process, pytest.raises(ValueError):
        process.write(b"x")


def test_end_of_input_is_delivered_while_output_goes_on(runner: Runner) -> None:
    with runner.start(["sh", "-c", "cat >/dev/null; echo ended; sleep 0.3; echo after"], stdin=True) as process:
        process.write(b"text")
        process.close_stdin()
        assert read_all(process) == b"ended\nafter\n"
        with pytest.raises(ValueError):
            process.write(b"more")


@pytest.mark.parametrize("is_read", [True, False])
def test_input_that_nobody_reads_any_more_is_a_cut_with_the_reason(runner: Runner, is_read: bool) -> None:
    script = "head -c 9 >/dev/null; echo said; echo first >&2; echo reason >&2; exit 3"
    with runner.start(["sh", "-c", script], stdin=True) as process, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_all, process) if is_read else None
        begun = time.monotonic()
        with pytest.raises(StreamCutError, match="reason"):
            process.write(BLOCK * BLOCKS)
        assert time.monotonic() - begun < 60
        assert (reading.result() if reading else read_all(process)) == b"said\n"
        assert process.wait() == 3
        assert process.stderr_tail() == b"first\nreason\n"


def test_command_that_closes_its_output_still_gets_its_input(bench: Bench) -> None:
    path = f"{bench.scratch}/redirected"
    script = 'exec >"$1" 2>/dev/null; sleep 0.5; exec cat'
    with bench.runner.start(["sh", "-c", script, "sh", path], stdin=True) as process:
        for _turn in range(BLOCKS):
            process.write(BLOCK)
        process.close_stdin()
        assert process.wait() == 0
    assert bench.runner.run(["sha256sum", path]).stdout.split()[0].decode() == DIGEST


def test_run_of_a_command_that_leaves_input_unread_is_no_error(runner: Runner) -> None:
    assert runner.run(["head", "-c", "5"], stdin=b"hello" + BLOCK * 4).stdout == b"hello"


def test_variables_are_those_that_commands_see(bench: Bench) -> None:
    variables = bench.runner.variables()
    for name, value in bench.variables.items():
        assert variables[name] == value
    seen = bench.runner.run(["sh", "-c", 'printf "%s" "$POSTGRES_PASSWORD"']).stdout.decode()
    assert seen == variables["POSTGRES_PASSWORD"]
    assert bench.runner.variables() is variables


def test_env_reaches_the_command_and_nobodys_arguments(runner: Runner) -> None:
    secret = "s3cr3t=a 'b' \"c\" $d\nnext ñ"
    with runner.start(["sh", "-c", 'printf "%s" "$X"; cat'], env={"X": secret}, stdin=True) as process:
        assert process.read().decode() == secret
        inside = runner.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout
        assert b"s3cr3t" not in inside
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # ended since it was listed
                assert b"s3cr3t" not in path.read_bytes()
        process.close_stdin()
        assert process.wait() == 0


def test_several_commands_at_once_keep_their_streams_apart(runner: Runner) -> None:
    def echo(number: int) -> bool:
        text = bytes([number]) * 1_000_000
        return runner.run(["cat"], stdin=text).stdout == text

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(echo, range(24)))


def test_close_ends_a_command_that_waits_for_input(runner: Runner) -> None:
    with runner.start(["sh", "-c", "cat; : mark-input"], stdin=True) as process:
        await_there(runner, "mark-input")
        process.write(b"x")
    process.close()
    await_gone(runner, "mark-input")


def test_close_sends_no_signal_to_a_command_that_ends_by_its_input(runner: Runner) -> None:
    script = "trap 'echo signalled >&2' TERM; read line; : mark-trap"
    with runner.start(["sh", "-c", script], stdin=True) as process:
        await_there(runner, "mark-trap")
        process.close_stdin()
        assert process.wait() == 0
    await_gone(runner, "mark-trap")
    assert process.stderr_tail() == b""


def test_close_wakes_a_reader_in_another_thread(runner: Runner) -> None:
    with ThreadPoolExecutor(1) as pool:
        process = runner.start(["sleep", "300"])
        reading = pool.submit(process.read)
        pause(0.2)
        process.close()
        with suppress(StreamCutError):
            assert reading.result(timeout=60) == b""
    with pytest.raises(StreamCutError):
        process.read()


def test_close_wakes_a_writer_in_another_thread(runner: Runner) -> None:
    with ThreadPoolExecutor(1) as pool:
        process = runner.start(["sleep", "300"], stdin=True)
        writing = pool.submit(process.write, BLOCK * BLOCKS)
        pause(0.2)
        process.close()
        with pytest.raises(StreamCutError):
            writing.result(timeout=60)


def test_silence_between_bytes_changes_nothing(runner: Runner) -> None:
    with runner.start(["sh", "-c", "echo one; sleep 2; echo two; read line; echo $line"], stdin=True) as process:
        assert process.read() == b"one\n"
        assert process.read() == b"two\n"
        pause(1)
        process.write(b"three\n")
        assert process.read() == b"three\n"
        assert process.wait() == 0


def test_run_past_its_time_names_the_program_only(runner: Runner) -> None:
    begun = time.monotonic()
    with pytest.raises(EnvironmentFailedError) as caught:
        runner.run(["sh", "-c", "sleep 300; : mark-late"], env={"X": "s3cr3t"}, timeout_s=0.5)
    assert time.monotonic() - begun < 60
    assert "sh" in caught.value.message
    assert "0.5" in caught.value.message
    assert "mark-late" not in caught.value.message
    assert "s3cr3t" not in caught.value.message


def test_run_past_its_limit_is_an_error(runner: Runner) -> None:
    with pytest.raises(EnvironmentFailedError, match="head"):
        runner.run(["head", "-c", "2000000", "/dev/zero"], limit_bytes=1_000_000)
    assert len(runner.run(["head", "-c", "1000000", "/dev/zero"], limit_bytes=1_000_000).stdout) == 1_000_000


def test_runner_tells_its_instance(bench: Bench) -> None:
    assert bench.runner.instance == bench.instance
    assert bench.instance.environment == bench.environment.name
    assert bench.environment.is_available()


def test_find_by_name_gives_the_instance(bench: Bench) -> None:
    assert list(bench.environment.find(InstanceQuery(name=bench.instance.name))) == [bench.instance]
    assert bench.instance in bench.environment.find(InstanceQuery())
    assert bench.instance.name in bench.environment.list_names()
    assert list(bench.environment.find(InstanceQuery(name="no-such-name"))) == []
    assert list(bench.environment.find(InstanceQuery(labels={"no.such": "label"}))) == []
