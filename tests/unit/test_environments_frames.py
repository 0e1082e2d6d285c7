"""The engine's frames, cut at every byte, and streams that end too early."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from respaldo.environments.hijack import FrameReader
from respaldo.environments.tail import TAIL_BYTES, ErrorTail
from respaldo.environments.wire import PlainWire
from respaldo.errors import StreamCutError


def frame(kind: int, data: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


STREAM = frame(1, b"one") + frame(2, b"error\n") + frame(1, b"") + frame(1, b"two") + frame(2, b"last")


def read(first: bytes, rest: bytes, size: int = 1 << 18) -> tuple[bytes, bytes]:
    ours, theirs = socket.socketpair()
    errors = ErrorTail()
    wire = PlainWire(ours)

    def send() -> None:
        with theirs:
            for position in range(len(rest)):
                theirs.sendall(rest[position : position + 1])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        reader = FrameReader(wire, first, errors, "program")
        return b"".join(iter(lambda: reader.read(size), b"")), errors.read()
    finally:
        sender.join()
        wire.close()


@pytest.mark.parametrize("size", [1, 2, 1 << 18])
def test_frames_cut_anywhere_give_the_same_bytes(size: int) -> None:
    for cut in range(len(STREAM) + 1):
        assert read(STREAM[:cut], STREAM[cut:], size) == (b"onetwo", b"error\nlast")


@pytest.mark.parametrize("length", [3, 8, 10, 12, len(STREAM) - 1])
def test_stream_that_ends_inside_a_frame_is_a_cut(length: int) -> None:
    with pytest.raises(StreamCutError, match="program"):
        read(b"", STREAM[:length])


def test_bytes_that_are_no_frames_are_refused() -> None:
    with pytest.raises(StreamCutError):
        read(b"plain text without frames", b"")


def test_program_that_could_not_start_reports_as_an_error() -> None:
    reason = b"OCI runtime exec failed: not found"
    assert read(frame(1, reason), b"") == (b"", reason)


def test_tail_keeps_the_end() -> None:
    tail = ErrorTail()
    tail.append(b"x" * 100)
    tail.append(b"y" * (TAIL_BYTES - 5))
    tail.append(b"end\n\n")
    assert len(tail.read()) == TAIL_BYTES
    assert tail.last_line().endswith("yend")


def test_sdk_is_not_imported_before_an_engine_is_asked() -> None:
    script = "import sys, respaldo.environments.docker, respaldo.environments.detect; print('docker' in sys.modules)"
    answered = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answered.stdout == "False\n"
