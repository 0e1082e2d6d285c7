"""What a kubeconfig, a credential plugin or a proxy may hold that is wrong, and what is said of it."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from respaldo.environments.base import InstanceQuery
from respaldo.environments.kubernetes import KubernetesEnvironment
from respaldo.environments.kubernetes_api import Api, ApiRefusedError
from respaldo.environments.kubernetes_config import Cluster, find_cluster
from respaldo.environments.kubernetes_login import FixedLogin, PluginLogin, Proof, TokenFileLogin
from respaldo.errors import EnvironmentFailedError
from tests.rig.receivers import free_port, http_server, make_certificate
from tests.unit.api_server import Script, answer, serving

pytestmark = pytest.mark.usefixtures("in_english")


def kubeconfig(
    directory: Path, *, cluster: str = "server: 'https://127.0.0.1:1'", user: str = "token: t"
) -> dict[str, str]:
    (directory / "config").write_text(
        "current-context: one\n"
        "contexts: [{name: one, context: {cluster: c, user: u}}]\n"
        f"clusters: [{{name: c, cluster: {{{cluster}}}}}]\n"
        f"users: [{{name: u, user: {{{user}}}}}]\n"
    )
    return {"KUBECONFIG": str(directory / "config")}


@pytest.mark.parametrize(
    ("cluster", "user", "expected"),
    [
        ("server: ''", "token: t", "names no usable cluster"),
        ("server: 'https://h'", "auth-provider: {name: gcp}", "auth-provider"),
        ("server: 'https://h', certificate-authority: absent.pem", "token: t", "certificate-authority"),
        ("server: 'https://h', certificate-authority-data: 'a'", "token: t", "certificate-authority"),
        ("server: 'https://h'", "client-certificate-data: gICA", "client-certificate"),
    ],
)
def test_kubeconfig_with_a_part_that_cannot_be_used_names_the_part(
    tmp_path: Path, cluster: str, user: str, expected: str
) -> None:
    with pytest.raises(EnvironmentFailedError, match=expected):
        find_cluster(kubeconfig(tmp_path, cluster=cluster, user=user))


def test_certificates_inside_of_a_kubeconfig_are_decoded(tmp_path: Path) -> None:
    given = base64.b64encode(b"-----BEGIN").decode()
    variables = kubeconfig(tmp_path, user=f"client-certificate-data: {given}, client-key-data: {given}")
    proof = find_cluster(variables).login.proof()
    assert (proof.certificate, proof.key) == ("-----BEGIN", "-----BEGIN")


def test_certificates_that_are_none_are_said_with_their_context(tmp_path: Path) -> None:
    given = base64.b64encode(b"no certificate").decode()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
        variables = kubeconfig(tmp_path, cluster=f"server: '{address}', certificate-authority-data: {given}")
        for ask in (KubernetesEnvironment(variables).check, KubernetesEnvironment(variables).list_names):
            with pytest.raises(EnvironmentFailedError, match="certificates of context one"):
                ask()


def test_context_that_is_not_there_is_an_environment_that_cannot_be_used(tmp_path: Path) -> None:
    environment = KubernetesEnvironment(kubeconfig(tmp_path), context="two")
    assert not environment.is_available()
    with pytest.raises(EnvironmentFailedError, match="no context two") as caught:
        environment.check()
    assert "one" in (caught.value.hint or "")


def test_token_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailedError, match=str(tmp_path / "token")):
        TokenFileLogin(tmp_path / "token").proof()


def plugin(directory: Path, script: str, **config: object) -> PluginLogin:
    path = directory / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return PluginLogin({"command": "./plugin", **config}, directory, {"server": "https://h"})


@pytest.mark.parametrize(
    "said", ["", "{}", "[]", '{"status": null}', '{"status": {"token": "t", "expirationTimestamp": "soon"}}']
)
def test_plugin_that_prints_no_credential_is_said_with_the_command_to_try(tmp_path: Path, said: str) -> None:
    with pytest.raises(EnvironmentFailedError, match="no ExecCredential") as caught:
        plugin(tmp_path, f"echo '{said}'").proof()
    assert str(tmp_path / "plugin") in (caught.value.hint or "")


def test_plugin_that_is_not_installed_is_said_with_the_hint_of_its_kubeconfig(tmp_path: Path) -> None:
    login = PluginLogin({"command": "no-such-plugin", "installHint": "install it"}, tmp_path, {})
    with pytest.raises(EnvironmentFailedError, match="no-such-plugin") as caught:
        login.proof()
    assert caught.value.hint == "install it"
    with pytest.raises(EnvironmentFailedError, match="v1alpha1"):
        plugin(tmp_path, "", apiVersion="client.authentication.k8s.io/v1alpha1").proof()


def test_plugin_hears_of_the_cluster_and_is_asked_again_after_a_refusal(tmp_path: Path) -> None:
    given = plugin(
        tmp_path,
        'echo "$KUBERNETES_EXEC_INFO" >>"${0%/*}/info"; echo \'{"status": {"token": "t"}}\'',
        provideClusterInfo=True,
    )
    script = Script([answer(401), answer(200, {}), answer(401), answer(201)])
    with serving(script, given) as (api, _pauses):
        api.get("/x")
        api.send("POST", "/x", {})
    infos = [json.loads(line) for line in (tmp_path / "info").read_text().splitlines()]
    assert [one["spec"]["cluster"] for one in infos] == [{"server": "https://h"}] * 3
    assert "Bearer t" in script.asked[-1]


def test_server_with_a_certificate_of_its_own_is_refused_unless_the_kubeconfig_says_so(tmp_path: Path) -> None:
    with http_server(make_certificate(tmp_path)) as inbox:
        login = FixedLogin(Proof())
        strict = Api(Cluster(server=inbox.url, origin="a test", namespace="n", login=login))
        lax = Api(Cluster(server=inbox.url, origin="a test", namespace="n", login=login, is_verified=False))
        for ask in (strict.get, lambda path: strict.upgrade(path, [], ["v"])):
            with pytest.raises(EnvironmentFailedError, match="certificate"):
                ask("/x")
        assert lax.get("/x") == {"ok": True}
        with pytest.raises(ApiRefusedError):
            lax.upgrade("/x", [], ["v"])


@contextmanager
def proxy(says: bytes, asked: list[str]) -> Iterator[int]:
    """A proxy that answers CONNECT so, and passes on what follows if that was a yes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _peer = server.accept()
            with connection:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                asked.append(head.decode())
                connection.sendall(says)
                if b" 200 " in says:
                    host, _colon, port = head.split(b" ")[1].decode().rpartition(":")
                    with socket.create_connection((host, int(port))) as to:
                        to.sendall(connection.recv(1 << 16))
                        while data := to.recv(1 << 16):
                            connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_proxy_of_the_kubeconfig_is_gone_through_with_its_password() -> None:
    asked: list[str] = []
    with (
        proxy(b"HTTP/1.1 200 Connection established\r\n\r\n", asked) as port,
        serving(Script([answer(200, {"kind": "Pod"})]), proxy=f"http://ana:p%40ss@127.0.0.1:{port}") as (api, _pauses),
    ):
        assert api.get("/x") == {"kind": "Pod"}
        assert asked[0].startswith(f"CONNECT 127.0.0.1:{api.cluster.port} HTTP/1.1\r\n")
    assert f"Basic {base64.b64encode(b'ana:p@ss').decode()}\r\n" in asked[0]


@pytest.mark.parametrize(
    ("says", "expected"), [(b"HTTP/1.1 407 Log in\r\n\r\n", "407 Log in"), (b"", "the proxy closed the connection")]
)
def test_proxy_that_lets_nobody_through_is_said(says: bytes, expected: str) -> None:
    with (
        proxy(says, []) as port,
        serving(Script([]), proxy=f"127.0.0.1:{port}") as (api, _pauses),
        pytest.raises(EnvironmentFailedError, match=expected),
    ):
        api.get("/x")


@pytest.mark.parametrize(
    "url", ["socks5://ana:secret@h:1080", "https://h", "http://ana:se/secret@h", "http://:80", "http://[::1"]
)
def test_proxy_that_cannot_be_used_is_said_without_its_password(url: str) -> None:
    with serving(Script([]), proxy=url) as (api, _pauses):
        for ask in (api.get, lambda path: api.upgrade(path, [], ["v"])):
            with pytest.raises(EnvironmentFailedError, match="proxy") as caught:
                ask("/x")
            assert "secret" not in caught.value.message


def test_proxy_of_the_variables_is_left_out_for_whom_no_proxy_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Script([answer(200, {})])) as (api, _pauses):
        assert api.get("/x") == {"kind": "Status", "message": "said 200"}


@pytest.mark.parametrize(
    "said", [b"what is this", b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nno", b"HTTP/1.1 200 X\r\n\r\n<html>"]
)
def test_something_else_that_answers_is_no_cluster(said: bytes) -> None:
    with serving(Script([said])) as (api, _pauses), pytest.raises(EnvironmentFailedError, match="cannot be reached"):
        api.get("/x")


def test_server_that_goes_away_in_the_middle_is_one_error() -> None:
    for said in (b"", b"HTTP/1.1\r\n\r\n"):
        with (
            serving(Script([said])) as (api, _pauses),
            pytest.raises(EnvironmentFailedError, match="cannot be reached"),
        ):
            api.upgrade("/x", [], ["v"])
    with serving(Script([b"", answer(429, None, "Retry-After: soon"), answer(200, {"kind": "Pod"})])) as (api, pauses):
        with pytest.raises(EnvironmentFailedError, match="cannot be reached"):
            api.send("DELETE", "/x")
        assert api.get("/x") == {"kind": "Pod"}
        assert len(pauses) == 1


def test_looking_in_all_namespaces_without_the_right_names_the_cluster_role() -> None:
    said = 'pods is forbidden: User "ana" cannot list resource "pods" in API group "" at the cluster scope'
    with serving(Script([answer(403, {"message": said})])) as (api, _pauses), pytest.raises(ApiRefusedError) as caught:
        api.text("/api/v1/pods")
    assert "ClusterRole" in (caught.value.hint or "")
    assert "--namespace" in (caught.value.hint or "")


def environment_on(api: Api, directory: Path) -> KubernetesEnvironment:
    return KubernetesEnvironment(kubeconfig(directory, cluster=f"server: '{api.cluster.server}'"))


def test_pod_that_is_not_there_is_looked_for_elsewhere_as_far_as_the_role_lets(tmp_path: Path) -> None:
    script = Script([answer(404), answer(200, {"items": []}), answer(403), answer(403), answer(500, {})])
    with serving(script) as (api, _pauses):
        environment = environment_on(api, tmp_path)
        assert environment.find(InstanceQuery(name="shop.db")) == []
        assert "--namespace NAME" in environment.hint_elsewhere("db")
        script.answers[:] = [answer(409)]
        with pytest.raises(ApiRefusedError):
            environment.find(InstanceQuery(name="db"))
    assert KubernetesEnvironment({}, all_namespaces=True).hint_elsewhere("db") == ""
