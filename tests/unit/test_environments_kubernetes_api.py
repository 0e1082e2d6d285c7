"""What an API server may do to us, from a small server that does it: overload, expired logins, streams that lie."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from respaldo.environments.base import Instance
from respaldo.environments.kubernetes_api import PAUSES_S, Api, ApiRefusedError
from respaldo.environments.kubernetes_config import find_cluster
from respaldo.environments.kubernetes_errors import read_message
from respaldo.environments.kubernetes_login import PluginLogin, TokenFileLogin
from respaldo.environments.kubernetes_process import V4, V5, PodContainer
from respaldo.environments.kubernetes_runner import KubernetesRunner
from respaldo.environments.tail import ErrorTail
from respaldo.environments.websocket import ChannelReader, MessageWriter
from respaldo.environments.wire import PlainWire
from respaldo.errors import EnvironmentFailedError, StreamCutError, UsageError
from tests.unit.api_server import Script, answer, serving

UPGRADED = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: {V5}\r\n\r\n".encode()
SUCCESS = json.dumps({"status": "Success"}).encode()


def message(channel: int, data: bytes, code: int = 0x82) -> bytes:
    payload = bytes((channel,)) + data
    if len(payload) < 126:
        return bytes((code, len(payload))) + payload
    return bytes((code, 126)) + len(payload).to_bytes(2, "big") + payload


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_question_to_an_overloaded_server_is_repeated(status: int) -> None:
    script = Script([answer(status), answer(status, None, "Retry-After: 3"), answer(200, {"kind": "Pod"})])
    with serving(script) as (api, pauses):
        assert api.get("/api/v1/x") == {"kind": "Pod"}
    assert pauses == [PAUSES_S[0], 3.0]


def test_server_that_stays_overloaded_is_one_error_with_its_reason() -> None:
    script = Script([answer(429)] * (len(PAUSES_S) + 1))
    with serving(script) as (api, pauses), pytest.raises(ApiRefusedError, match="said 429") as caught:
        api.get("/api/v1/x")
    assert pauses == list(PAUSES_S)
    assert caught.value.hint


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_refusal_is_not_repeated(status: int) -> None:
    script = Script([answer(status)])
    with serving(script) as (api, pauses), pytest.raises(ApiRefusedError) as caught:
        api.get("/api/v1/x")
    assert (caught.value.status, pauses) == (status, [])
    assert "secret-token" not in f"{caught.value.message} {caught.value.hint}"


def test_forbidden_names_the_rule_to_add() -> None:
    said = 'pods is forbidden: User "ana" cannot list resource "pods" in API group "" in the namespace "shop"'
    with serving(Script([answer(403, {"message": said})])) as (api, _pauses), pytest.raises(ApiRefusedError) as caught:
        api.get("/api/v1/namespaces/shop/pods")
    assert '{apiGroups: [""], resources: [pods], verbs: [get, list]}' in (caught.value.hint or "")
    assert "shop" in (caught.value.hint or "")


def test_expired_token_is_read_again_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    login = TokenFileLogin(file)
    login.proof()
    file.write_text("new\n")
    script = Script([answer(401), answer(200, {}), answer(401), answer(401)])
    with serving(script, login) as (api, _pauses):
        api.get("/x")
        with pytest.raises(ApiRefusedError):
            api.get("/x")
    assert [("Bearer old" in asked, "Bearer new" in asked) for asked in script.asked[:2]] == [
        (True, False),
        (False, True),
    ]
    assert len(script.asked) == 4


def test_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    file, now = tmp_path / "token", [0.0]
    file.write_text("old")
    login = TokenFileLogin(file, clock=lambda: now[0])
    assert login.proof().authorization == "Bearer old"
    file.write_text("new")
    now[0] = 59.0
    assert login.proof().authorization == "Bearer old"
    now[0] = 60.0
    assert login.proof().authorization == "Bearer new"
    assert "new" not in repr(login.proof())


def test_plugin_is_asked_again_when_its_token_expires(tmp_path: Path) -> None:
    plugin, count = tmp_path / "plugin", tmp_path / "count"
    plugin.write_text(
        f'#!/bin/sh\necho x >>{count}\ntest "$WHO" = me || exit 9\n'
        'echo "{\\"status\\": {\\"token\\": \\"t-$1\\", \\"expirationTimestamp\\": \\"$UNTIL\\"}}"\n'
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)

    def login(until: str, who: str = "me") -> PluginLogin:
        env = [{"name": "WHO", "value": who}, {"name": "UNTIL", "value": until}]
        return PluginLogin({"command": "./plugin", "args": ["arg"], "env": env}, tmp_path, {})

    lasting, passing = login("2999-01-01T00:00:00Z"), login("2000-01-01T00:00:00Z")
    assert [lasting.proof().authorization for _turn in range(3)] == ["Bearer t-arg"] * 3
    assert count.read_text() == "x\n"
    passing.proof()
    passing.proof()
    assert count.read_text() == "x\n" * 3
    with pytest.raises(EnvironmentFailedError, match="plugin"):
        login("", who="other").proof()


def runner_of(api: Api) -> KubernetesRunner:
    instance = Instance(environment="kubernetes", name="default.db-0", id="default/db-0/postgres")
    place = PodContainer(
        api=api, instance=instance, namespace="default", pod="db-0", container="postgres", uid="u", container_id="c"
    )
    return KubernetesRunner(place)


def mark_of(request: str) -> bytes:
    """The mark that a request's command ends its output with."""
    return b"respaldo-" + request.partition("respaldo-")[2][:32].encode()


def exec_answering(*frames: bytes | None) -> Callable[[socket.socket, str], None]:
    """Upgrade, then send frames; None stands for the mark."""

    def say(connection: socket.socket, request: str) -> None:
        connection.sendall(UPGRADED)
        for frame in frames:
            connection.sendall(message(1, mark_of(request) + b"\n") if frame is None else frame)

    return say


def test_exec_refused_before_it_began_is_repeated() -> None:
    whole = exec_answering(message(1, b"out"), message(2, b"err"), None, message(3, SUCCESS))
    script = Script([answer(429), answer(500), whole])
    with serving(script) as (api, _pauses):
        done = runner_of(api).run(["x"])
    assert (done.status, done.stdout, done.stderr) == (0, b"out", b"err")
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    "frames",
    [
        [message(1, b"70 %")],  # the connection ends
        [message(1, b"70 %"), b"\x88\x02\x03\xe8"],  # closed in good order (1000), no status
        [message(1, b"70 %"), message(3, SUCCESS)],  # "Success", in the middle of the output
        [message(1, b"70 %"), message(3, b'{"status": "Failure", "message": "error dialing backend"}')],
        [message(1, b"70 %"), message(1, b"x" * 50)[:30]],  # in the middle of a frame
        [b"HTTP/1.1 what is this"],
    ],
)
def test_exec_that_was_cut_is_an_error_whatever_it_says_and_not_repeated(frames: Sequence[bytes]) -> None:
    script = Script([exec_answering(*frames)])
    with serving(script) as (api, _pauses), pytest.raises(StreamCutError):
        runner_of(api).run(["x"])
    assert len(script.asked) == 1


def test_frames_in_pieces_and_the_mark_in_pieces_are_put_together() -> None:
    def say(connection: socket.socket, request: str) -> None:
        mark = mark_of(request)
        whole = UPGRADED + message(1, b"") + message(2, b"") + message(3, b"")
        whole += message(1, b"a" * 300 + mark[:20]) + message(1, b"!")
        whole += message(1, mark[:5]) + message(1, mark[5:30]) + message(1, mark[30:] + b"\n")
        whole += b"\x8a\x00" + message(3, SUCCESS)
        for index in range(len(whole)):
            connection.sendall(whole[index : index + 1])

    script = Script([say])
    with serving(script) as (api, _pauses), runner_of(api).start(["x"]) as process:
        parts = list(iter(lambda: process.read(7), b""))
        assert process.wait() == 0
    assert all(len(part) <= 7 for part in parts)
    assert b"".join(parts) == b"a" * 300 + mark_of(script.asked[0])[:20] + b"!"


def test_pings_are_sent_in_silence_and_answered_when_received() -> None:
    ours, theirs = socket.socketpair()
    wire, errors = PlainWire(ours), ErrorTail()
    writer = MessageWriter(wire)
    reader = ChannelReader(wire, b"", errors, writer, "x")
    theirs.settimeout(5)
    theirs.sendall(b"\x89\x02hi" + message(1, b"out"))
    assert reader.read(10) == b"out"
    pong = theirs.recv(100)
    assert pong[:2] == b"\x8a\x82"
    assert bytes(a ^ b for a, b in zip(pong[6:], pong[2:6], strict=False)) == b"hi"
    writer.start_pings(every_s=0.01)
    assert theirs.recv(6)[:2] == b"\x89\x80"
    writer.stop()
    wire.close()
    theirs.close()


def test_kubeconfigs_are_merged_and_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "token").write_text("from-file")
    (tmp_path / "a" / "config").write_text(
        "current-context: one\n"
        "contexts: [{name: one, context: {cluster: c, user: u, namespace: shop}}]\n"
        "users: [{name: u, user: {tokenFile: token}}]\n"
    )
    (tmp_path / "b").write_text(
        "current-context: two\n"
        "contexts: [{name: two, context: {cluster: c, user: v}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://h:6443/prefix'}}]\n"
        "users: [{name: v, user: {username: ana, password: p}}]\n"
    )
    variables = {"KUBECONFIG": f"{tmp_path}/a/config:{tmp_path}/b:{tmp_path}/absent"}
    one, two = find_cluster(variables), find_cluster(variables, "two")
    assert (one.namespace, one.host, one.port, one.path) == ("shop", "h", 6443, "/prefix")
    assert one.login.proof().authorization == "Bearer from-file"
    assert (two.namespace, two.login.proof().authorization) == ("default", "Basic YW5hOnA=")
    with pytest.raises(UsageError, match="three") as caught:
        find_cluster(variables, "three")
    assert "one, two" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["{", "[]", "current-context: x", "contexts: []", "\0"])
def test_kubeconfig_that_cannot_be_used_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises((EnvironmentFailedError, UsageError), match="config"):
        find_cluster({"KUBECONFIG": str(tmp_path / "config")})


def test_pod_uses_its_own_account_unless_told_otherwise(tmp_path: Path) -> None:
    for name, text in (("token", "t"), ("namespace", "shop")):
        (tmp_path / name).write_text(text)
    inside = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    own = find_cluster(inside, account=tmp_path)
    assert (own.server, own.host, own.namespace) == ("https://[fd00::1]:443", "fd00::1", "shop")
    with pytest.raises(EnvironmentFailedError):
        find_cluster({**inside, "KUBECONFIG": "/no/such/file"}, account=tmp_path)


def read_input(connection: socket.socket, until: bytes) -> bytes:
    """Take the client's messages apart until their text ends like this."""
    stream = connection.makefile("rb")
    text = b""
    while not text.endswith(until):
        head = stream.read(2)
        length = head[1] & 0x7F
        length = int.from_bytes(stream.read(2), "big") if length == 126 else length
        key = stream.read(4)
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(stream.read(length)))
        text += payload[1:]
    return text


def test_server_that_does_not_know_v5_gets_input_in_pieces_from_then_on() -> None:
    taken: list[bytes] = []

    def say(connection: socket.socket, request: str) -> None:
        connection.sendall(UPGRADED.replace(V5.encode(), V4.encode()))
        taken.append(read_input(connection, b"0\n"))
        connection.sendall(message(1, b"out" + mark_of(request) + b"\n") + message(3, SUCCESS))

    # golang.org/x/net/websocket answers so where it knows none of the protocols.
    script = Script([b"HTTP/1.1 403 Forbidden\r\n\r\n", say, say])
    with serving(script) as (api, _pauses):
        runner = runner_of(api)
        for _turn in range(2):
            assert runner.run(["x"], stdin=b"hello").stdout == b"out"
    assert taken == [b"5\nhello0\n"] * 2
    assert [V5 in asked for asked in script.asked] == [True, False, False]


def test_exec_that_rbac_forbids_is_not_tried_again_by_another_protocol() -> None:
    said = (
        'pods "db-0" is forbidden: User "ana" cannot get resource "pods/exec" in API group "" in the namespace "shop"'
    )
    script = Script([answer(403, {"message": said})])
    with serving(script) as (api, _pauses), pytest.raises(ApiRefusedError) as caught:
        runner_of(api).run(["x"], stdin=b"hello")
    assert "resources: [pods/exec], verbs: [get, create]" in (caught.value.hint or "")
    assert len(script.asked) == 1


def test_message_of_the_api_keeps_addresses_and_not_the_commands_in_them() -> None:
    message = 'Post "https://10.0.0.1:20250/exec/shop/db-0/postgres?command=sh&output=1":\n dial tcp: refused?'
    expected = 'Post "https://10.0.0.1:20250/exec/shop/db-0/postgres": dial tcp: refused?'
    assert read_message(json.dumps({"message": message}).encode()) == expected
    assert read_message(message.encode()) == expected
