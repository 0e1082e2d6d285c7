"""The rig's own cluster mends itself, and two who start it at once do not spoil each other's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.rig.kube_cluster import SCRIPT, KubernetesCluster, running_cluster


def test_start_runs_what_is_missing_though_the_api_server_answers(kubernetes_cluster: KubernetesCluster) -> None:
    if not kubernetes_cluster.is_own:
        pytest.skip("another's cluster is not ours to damage")
    numbers = [kubernetes_cluster.kubeconfig.parent / f"{name}.pid" for name in ("scheduler", "controller-manager")]
    ended = [int(number.read_text()) for number in numbers]
    for pid in ended:
        os.kill(pid, signal.SIGTERM)
    kubernetes_cluster.wait_for("their end", lambda: not any(_runs(pid) for pid in ended), 20)
    assert running_cluster() is None
    begun = time.monotonic()
    starts = [subprocess.Popen([SCRIPT, "start"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for start in starts:
        said, _errors = start.communicate(timeout=120)
        assert (start.returncode, Path(said.strip())) == (0, kubernetes_cluster.kubeconfig)
    assert time.monotonic() - begun < 60
    again = [int(number.read_text()) for number in numbers]
    assert not set(again) & set(ended)
    # Each runs once: the ones whose numbers are kept.
    for name, pid in zip(("scheduler", "controller-manager"), again, strict=True):
        found = subprocess.run(["pgrep", "-f", f"kube-[0-9a-f]+ {name} "], capture_output=True, text=True, check=True)
        assert found.stdout.split() == [str(pid)]
    with kubernetes_cluster.namespace():  # which waits for a controller's work
        pass


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
