"""The commands of the manual, as they are written in English, on a pod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.test_manual import PAGES, PODS, ROOT, Reader, follow_page, make_reader
from tests.rig.kube_cluster import SCRIPT, KubernetesCluster, postgres_set


@pytest.fixture(scope="module")
def reader(kubernetes_cluster: KubernetesCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with kubernetes_cluster.namespace() as namespace:
        pod = postgres_set(kubernetes_cluster, namespace, "postgres")
        pod.psql((ROOT / "deploy/demo/init.sql").read_text())
        program = [str(SCRIPT), "kubectl"] if kubernetes_cluster.is_own else ["kubectl"]
        program += ["--kubeconfig", str(kubernetes_cluster.kubeconfig), "exec", "--stdin", "--namespace", namespace]
        psql = [*program, pod.name, "--", "psql", "-U", "postgres"]
        variables = {
            "KUBECONFIG": str(kubernetes_cluster.kubeconfig),
            "NAMESPACE": namespace,
            "POD_NAME": pod.name,
            "RESPALDO_ENVIRONMENT": "kubernetes",
        }
        yield make_reader("en", tmp_path_factory.mktemp("manual"), pod, psql, **variables)


# Versions and proofs are followed in Spanish, beside a container, with the same commands; drills of pods have tests of
# their own.
@pytest.mark.parametrize("page", [*(page for page in PAGES if page not in {"versions", "proofs"}), PODS])
def test_page_in_english_on_a_pod(reader: Reader, page: str) -> None:
    follow_page(reader, page)
