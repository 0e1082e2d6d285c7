"""Half-closed TLS: the input ends, the output goes on, and nothing in flight is lost."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from respaldo.environments.address import EngineAddress
from respaldo.environments.hijack import open_wire
from respaldo.errors import EnvironmentFailedError

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make certificates")
SIZE = 8 << 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    return folder


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
def address(certificates: Path, request: pytest.FixtureRequest) -> Iterator[EngineAddress]:
    """A server that counts its input to the end, writing blocks all the while, and then says how much it was."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _peer = listening.accept()
                with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as secure:
                    count = 0
                    while data := secure.recv(1 << 16):
                        secure.sendall(b"." * 100)
                        count += len(data)
                    for _turn in range(64):
                        secure.sendall(b"+" * (1 << 16))
                    secure.sendall(f"{count}".encode())
                    with suppress(ssl.SSLWantReadError):
                        secure.settimeout(1)
                        secure.unwrap()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield EngineAddress(
            url="https://localhost",
            host="localhost",
            port=listening.getsockname()[1],
            certificates=certificates,
            is_tls=True,
            is_verified=True,
        )
        listening.close()
        thread.join(10)


def test_input_ends_and_output_goes_on(address: EngineAddress) -> None:
    wire = open_wire(address)
    received = bytearray()

    def receive() -> None:
        view = memoryview(bytearray(1 << 16))
        while count := wire.receive_into(view, 20.0):
            received.extend(view[:count])

    reader = threading.Thread(target=receive)
    reader.start()
    block = bytes(range(256)) * 256
    for _turn in range(SIZE // len(block)):
        wire.send(block)
    wire.end()
    reader.join(20)
    wire.close()
    dots, blocks, count = received.partition(b"+")
    assert set(dots) == {ord(".")}
    assert (blocks + count).strip(b"+") == str(SIZE).encode()
    assert (blocks + count).count(b"+") == 64 << 16


def test_connection_that_breaks_without_notice_is_an_error(address: EngineAddress) -> None:
    wire = open_wire(address)
    wire.close()
    with pytest.raises(OSError):
        wire.receive_into(memoryview(bytearray(10)), 1.0)
    with pytest.raises(OSError):
        wire.send(b"x")


def test_server_that_is_not_trusted_is_refused(address: EngineAddress, tmp_path: Path) -> None:
    stranger = EngineAddress(
        url=address.url, host=address.host, port=address.port, certificates=tmp_path, is_tls=True, is_verified=True
    )
    with pytest.raises(EnvironmentFailedError) as caught:
        open_wire(stranger)
    assert "DOCKER_CERT_PATH" in (caught.value.hint or "")
