"""An exec's websocket where the other side breaks its rules, and wires that hold more than is asked for."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from respaldo.environments.kubernetes_process import V5
from respaldo.environments.tail import ErrorTail
from respaldo.environments.websocket import MAX_STATUS_BYTES, ChannelReader, MessageWriter
from respaldo.environments.wire import PlainWire, TlsWire
from respaldo.errors import EnvironmentFailedError, StreamCutError
from tests.rig.receivers import make_certificate
from tests.unit.api_server import Script, answer, serving
from tests.unit.test_environments_kubernetes_api import SUCCESS, UPGRADED, exec_answering, message, runner_of

pytestmark = pytest.mark.usefixtures("in_english")


def read_all(*pieces: bytes) -> tuple[bytes, bytes]:
    """Return output and status of what arrives in these pieces, one receive each."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wire, errors = PlainWire(ours), ErrorTail()
    reader = ChannelReader(wire, b"", errors, MessageWriter(wire), "x")

    def send() -> None:
        with theirs, suppress(BrokenPipeError):  # a reader that has seen enough
            for piece in pieces:
                theirs.sendall(piece)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return b"".join(iter(lambda: reader.read(100), b"")), reader.status
    finally:
        wire.close()
        sender.join(5)


def test_header_and_control_frames_that_come_in_pieces_are_put_together() -> None:
    long = message(1, b"o" * 200)
    assert read_all(long[:1], long[1:3], long[3:], message(3, SUCCESS)) == (b"o" * 200, SUCCESS)
    assert read_all(b"\x8a\x02h", b"i" + message(1, b"out"), message(3, SUCCESS)) == (b"out", SUCCESS)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x8a\x7e\x00\x80" + b"p" * 128,  # a control frame of more than 125 bytes
        b"\x83\x01x",  # of no known kind
        b"\xc2\x01x",  # of an extension that nobody agreed on
        b"\x82\x81keys.",  # masked, as only clients do
    ],
)
def test_frame_against_the_rules_is_a_cut(frame: bytes) -> None:
    with pytest.raises(StreamCutError, match="not in the API server's format"):
        read_all(frame)


def test_status_without_end_is_a_cut() -> None:
    begin, piece = b"\x02" + message(3, b"x" * 60_000)[1:], b"\x00\x7e\xea\x60" + b"x" * 60_000
    with pytest.raises(StreamCutError, match="not in the API server's format"):
        read_all(begin, *[piece] * (MAX_STATUS_BYTES // 60_000 + 1))


def failure(text: str) -> bytes:
    return json.dumps({"status": "Failure", "message": text}).encode()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('exec failed: "psql": executable file not found in $PATH', 127),
        ("OCI runtime exec failed: psql: permission denied", 126),
    ],
)
def test_program_that_a_container_cannot_start_is_told_as_a_shell_does(text: str, status: int) -> None:
    alive = {
        "metadata": {"namespace": "default", "name": "db-0", "uid": "u"},
        "spec": {"containers": [{"name": "postgres", "image": "postgres:17"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "postgres", "state": {"running": {}}, "containerID": "c"}],
        },
    }
    script = Script([exec_answering(message(3, failure(text))), answer(200, alive)])
    with serving(script) as (api, _pauses):
        done = runner_of(api).run(["psql"])
    assert (done.status, text.split(": ", 1)[1] in done.stderr.decode()) == (status, True)


@pytest.mark.parametrize(
    ("status", "then", "expected"),
    [
        (b"no status", [], "its status cannot be read"),
        (b"[]", [], "its status cannot be read"),
        (failure("exec failed: x"), [answer(404)], "the container stopped"),
        (failure("exec failed: x"), [answer(403)], "forbids it"),
    ],
)
def test_status_that_tells_nothing_is_a_cut(status: bytes, then: list[bytes], expected: str) -> None:
    script = Script([exec_answering(message(3, status)), *then])
    with serving(script) as (api, _pauses), pytest.raises(StreamCutError, match=expected):
        runner_of(api).run(["psql"])


def test_exec_that_is_refused_for_the_containers_state_or_answered_in_another_protocol() -> None:
    def refusing(text: str) -> list[Any]:
        return [answer(400, {"message": text})]

    with serving(Script(refusing("container not found (postgres)"))) as (api, _pauses):
        with pytest.raises(EnvironmentFailedError, match="is not running") as caught:
            runner_of(api).run(["psql"])
        assert "describe pod db-0" in (caught.value.hint or "")
    with (
        serving(Script([UPGRADED.replace(V5.encode(), b"v9.other")])) as (api, _pauses),
        pytest.raises(EnvironmentFailedError, match=r"a protocol that is not known: v9\.other"),
    ):
        runner_of(api).run(["psql"])


def test_variables_of_a_container_without_a_shell_are_said_to_be_unreadable() -> None:
    script = Script([exec_answering(message(3, failure("exec failed: sh: not found"))), answer(404)])
    with serving(script) as (api, _pauses), pytest.raises((EnvironmentFailedError, StreamCutError)):
        runner_of(api).variables()


def test_what_had_arrived_before_the_end_of_the_input_is_read_after_it(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with certificate.server_context().wrap_socket(theirs, server_side=True) as connection:
            connection.sendall(b"0123456789" * 1000)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    wire = TlsWire(ours, ssl.create_default_context(cafile=str(certificate.certificate)), "localhost")
    wire.shake_hands(5)
    view = memoryview(bytearray(10))
    got = b""
    while len(got) < 2000:
        got += bytes(view[: wire.receive_into(view, 5)])
    wire.end()
    while len(got) < 10_000 and (count := wire.receive_into(view, 5)):
        got += bytes(view[:count])
    assert got == b"0123456789" * 1000
    wire.close()
    thread.join(5)
