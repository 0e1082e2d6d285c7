"""Jobs and throwaway pods that a cluster makes, does not make, loses or keeps: from a small server that says so."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict
from typing import Any

import pytest

from respaldo.environments.base import Instance, Runner
from respaldo.environments.kubernetes_api import Api, ApiRefusedError
from respaldo.environments.kubernetes_copy import Copy, copy_variables
from respaldo.environments.kubernetes_jobs import ClusterJobs, JobEnd
from respaldo.environments.kubernetes_owner import OWNER, OWNER_POD, describe_owner, is_left
from respaldo.environments.kubernetes_sandbox import NAMES, KubernetesSandbox, remove
from respaldo.errors import EnvironmentFailedError
from respaldo.operations.schedule_cluster import ClusterSchedules
from respaldo.process import identify_process
from tests.unit.api_server import Script, answer, serving

pytestmark = pytest.mark.usefixtures("in_english")

JOB: dict[str, Any] = {"metadata": {"name": "j"}}
DONE: dict[str, Any] = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
NO_ANSWER = b""


def listed(*items: dict[str, Any]) -> bytes:
    return answer(200, {"kind": "List", "items": list(items)})


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "j-1", "uid": "u1"}, "status": status}


def run(*answers: bytes, start_s: float = 300.0) -> tuple[JobEnd, list[str]]:
    script = Script([*answers])
    with serving(script) as (api, _pauses):
        end = ClusterJobs(api, "shop", start_s=start_s).run(JOB, pause=lambda _seconds: None)
    return end, [" ".join(asked.split(" ", 2)[:2]) for asked in script.asked]


ENDED = pod(phase="Succeeded", containerStatuses=[{"state": {"terminated": {"exitCode": 3}}}])
LOG = b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nsaid"


@pytest.mark.parametrize("first", [[NO_ANSWER, answer(409)], [answer(503), answer(201)], [answer(429), answer(409)]])
def test_job_whose_making_was_not_answered_is_made_once(first: list[bytes]) -> None:
    end, asked = run(*first, answer(200, DONE), listed(ENDED), LOG, answer(404))
    assert end == JobEnd(status=3, said="said")
    assert asked[-2:] == [
        "GET /api/v1/namespaces/shop/pods/j-1/log",
        "DELETE /apis/batch/v1/namespaces/shop/jobs/j?propagationPolicy=Background",
    ]


@pytest.mark.parametrize("answers", [[answer(409)], [answer(422)], [answer(503)] * 6, [NO_ANSWER] * 6])
def test_job_that_cannot_be_made_is_an_error_and_nothing_is_removed(answers: list[bytes]) -> None:
    script = Script([*answers])
    with serving(script) as (api, _pauses), pytest.raises(EnvironmentFailedError):
        ClusterJobs(api, "shop").run(JOB, pause=lambda _seconds: None)
    assert {asked.split(" ")[0] for asked in script.asked} == {"POST"}


def test_job_that_somebody_removed_and_one_whose_pod_is_gone_say_so() -> None:
    assert run(answer(201), answer(404), answer(404))[0].reason == "somebody removed the Job j"
    assert run(answer(201), answer(200, DONE), listed(), answer(200))[0].reason == "its pod is gone"
    failed = {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "over its deadline"}]}}
    assert run(answer(201), answer(200, failed), listed(pod()), answer(200))[0].reason == "over its deadline"


@pytest.mark.parametrize(
    ("pods", "start_s", "expected"),
    [
        ([], -1, "makes no pod for the Job j"),
        ([pod(phase="Pending")], -1, "j-1 does not start: Pending"),
        (
            [pod(phase="Pending", conditions=[{"status": "False", "message": "0/3 nodes are available"}])],
            -1,
            "0/3 nodes are available",
        ),
        (
            [pod(phase="Pending", containerStatuses=[{"state": {"waiting": {"reason": "InvalidImageName"}}}])],
            300,
            "InvalidImageName",
        ),
    ],
)
def test_job_that_does_not_start_is_removed_and_its_reason_said(
    pods: list[dict[str, Any]], start_s: float, expected: str
) -> None:
    script = Script([answer(201), answer(200, {"status": {}}), listed(*pods), answer(200)])
    with serving(script) as (api, _pauses), pytest.raises(EnvironmentFailedError, match=expected) as caught:
        ClusterJobs(api, "shop", start_s=start_s).run(JOB, pause=lambda _seconds: None)
    assert script.asked[-1].startswith("DELETE ")
    assert caught.value.hint == "kubectl --namespace shop get events"


def test_job_that_may_not_be_watched_or_removed_is_an_error() -> None:
    script = Script([answer(201), answer(403), answer(403), answer(201), answer(200, DONE), listed(), answer(403)])
    with serving(script) as (api, _pauses):
        for _turn in range(2):
            with pytest.raises(ApiRefusedError, match="forbids"):
                ClusterJobs(api, "shop").run(JOB, pause=lambda _seconds: None)


def test_schedule_that_somebody_else_removed_at_once_is_removed() -> None:
    item = {
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 2 * * *", "jobTemplate": {"spec": {"template": {"spec": {}}}}},
    }
    script = Script([listed(item), answer(404), listed(item), answer(403)])
    with serving(script) as (api, _pauses):
        schedules = ClusterSchedules(api, "shop")
        schedules.remove("nightly")
        with pytest.raises(ApiRefusedError):
            schedules.remove("nightly")


def test_owner_in_a_cluster_is_the_pod_that_this_runs_in_if_it_may_be_seen() -> None:
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    with serving(Script([answer(200, pod()), answer(404), answer(403)])) as (api, _pauses):
        owners = [describe_owner(api, inside)[OWNER_POD] for _turn in range(3)]
        assert owners == [f"default/{socket.gethostname()}/u1", "", ""]
        assert OWNER_POD not in describe_owner(api, {})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([answer(404)], True),
        ([answer(200, pod(phase="Running"))], False),
        ([answer(200, pod(phase="Failed"))], True),
        ([answer(200, {"metadata": {"uid": "another"}})], True),
        ([answer(403)], False),
    ],
)
def test_throwaway_pod_is_left_if_the_pod_that_made_it_is_gone_for_sure(answers: list[bytes], expected: bool) -> None:
    own = json.dumps(asdict(identify_process()))
    made: dict[str, Any] = {"metadata": {"annotations": {OWNER: own, OWNER_POD: "ops/respaldo-0/u1"}}}
    with serving(Script([*answers])) as (api, _pauses):
        assert is_left(api, made) is expected
        assert is_left(api, {**made, "status": {"phase": "Succeeded"}})
        assert not is_left(api, {"metadata": {"annotations": {OWNER: "{"}}})


COPY = Copy(namespace="shop", image="postgres:17", image_id="sha256:a")


def no_runner(instance: Instance) -> Runner:
    raise AssertionError(instance)


def open_sandbox(api: Api, copy: Copy = COPY) -> KubernetesSandbox:
    return KubernetesSandbox(api, copy, {}, no_runner)


PLACED = answer(200, {"metadata": {"namespace": "shop", "name": "n", "uid": "u"}, "spec": {"nodeName": "n1"}})
GONE = [answer(200), answer(404), answer(404), answer(404), answer(404)]


def test_drill_beside_as_many_as_there_may_be_says_so() -> None:
    with (
        serving(Script([answer(409)] * len(NAMES))) as (api, _pauses),
        pytest.raises(EnvironmentFailedError, match="4 drills run in the namespace shop already"),
    ):
        open_sandbox(api)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (403, 'secrets is forbidden: User "a" cannot create resource "secrets"', "more rights in the namespace shop"),
        (403, "exceeded quota: compute", "does not take the throwaway pod: exceeded quota"),
        (500, "etcd is full", "etcd is full"),
    ],
)
def test_throwaway_pod_whose_secret_is_refused_is_removed(status: int, said: str, expected: str) -> None:
    script = Script([answer(201), PLACED, answer(status, {"message": said}), *GONE])
    with serving(script) as (api, _pauses), pytest.raises(EnvironmentFailedError, match=expected):
        open_sandbox(api)
    assert [asked.split(" ")[1] for asked in script.asked if asked.startswith("DELETE ")] == [
        f"/api/v1/namespaces/shop/{kind}/respaldo-drill-0" for kind in ("pods", "persistentvolumeclaims", "secrets")
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (pod(phase="Failed", message="evicted"), "ended by itself: evicted"),
        (
            pod(containerStatuses=[{"name": "postgres", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
            "does not start: ImagePullBackOff",
        ),
        (
            pod(containerStatuses=[{"name": "postgres", "state": {"running": {}}, "imageID": "sha256:b"}]),
            "another image than the source: sha256:b",
        ),
    ],
)
def test_throwaway_pod_that_is_not_what_was_asked_for_is_said(state: dict[str, Any], expected: str) -> None:
    with serving(Script([answer(201), PLACED, answer(201), PLACED, answer(200, state)])) as (api, _pauses):
        sandbox = open_sandbox(api)
        with pytest.raises(EnvironmentFailedError, match=expected):
            sandbox.check_alive()


def test_throwaway_pod_that_is_another_by_now_or_may_not_be_removed() -> None:
    with serving(Script([answer(409), answer(403)])) as (api, _pauses):
        remove(api, "shop", NAMES[0], "u1")
        with pytest.raises(ApiRefusedError):
            remove(api, "shop", NAMES[0], "u1")


def test_claim_of_a_throwaway_pod_is_waited_for() -> None:
    script = Script([answer(200), answer(200), answer(200), answer(404), answer(200), answer(404), answer(404)])
    with serving(script) as (api, _pauses):
        remove(api, "shop", NAMES[0])
    assert script.answers == []


def test_copy_refers_to_what_shapes_a_server_in_whole_secrets_and_maps() -> None:
    container = {
        "env": [{"name": "PGDATA", "value": "/d"}, {"name": "POSTGRES_PASSWORD", "value": "x"}],
        "envFrom": [
            {"secretRef": {"name": "s"}},
            {"prefix": "POSTGRESQL_", "configMapRef": {"name": "m"}},
        ],
    }
    variables = {one["name"]: one for one in copy_variables(container)}
    assert "POSTGRES_PASSWORD" not in variables
    assert variables["PGDATA"] == {"name": "PGDATA", "value": "/d"}
    reference = {"secretKeyRef": {"name": "s", "key": "POSTGRES_USER", "optional": True}}
    assert variables["POSTGRES_USER"]["valueFrom"] == reference
    both = [one for one in copy_variables(container) if one["name"] == "POSTGRESQL_DATABASE"]
    assert both[-1]["valueFrom"] == {"configMapKeyRef": {"name": "m", "key": "DATABASE", "optional": True}}
