"""A primary and its standby in a cluster, for the tests that need both."""

from __future__ import annotations

from tests.rig.engine import RigError
from tests.rig.kube_cluster import KubernetesCluster, PostgresPod, postgres_set
from tests.rig.requirements import require

_REPLICA = r"""
case $(hostname) in *-0)
  printf '%s\n' 'local all all trust' 'host all,replication all all trust' >/tmp/hba && chmod 0644 /tmp/hba
  exec docker-entrypoint.sh postgres -c listen_addresses=* -c hba_file=/tmp/hba ;;
esac
mkdir -p "$PGDATA" /var/run/postgresql && chown postgres "$PGDATA" /var/run/postgresql && chmod 0700 "$PGDATA"
export HOME=/tmp PGPASSWORD=$POSTGRES_PASSWORD
as_postgres="setpriv --reuid=postgres --regid=postgres --clear-groups"
until [ -s /tmp/primary ]; do sleep 0.2; done
until $as_postgres pg_basebackup --write-recovery-conf --checkpoint=fast --no-sync --pgdata="$PGDATA" \
  --host="$(cat /tmp/primary)" --username=postgres
do sleep 0.5; rm -rf "$PGDATA"/*; done
exec $as_postgres postgres -c hba_file="$PGDATA/pg_hba.conf" -c max_standby_streaming_delay=1s
"""


def replicated_set(cluster: KubernetesCluster, namespace: str, name: str) -> tuple[PostgresPod, PostgresPod]:
    """Make a StatefulSet of a primary and a streaming standby, as a person would by hand, and wait until both serve.

    The standby cancels what its replay meets after a second. No label tells which of them is which.
    """
    primary = postgres_set(cluster, namespace, name, command=["bash", "-c", _REPLICA], replicas=2)
    standby = PostgresPod(cluster=cluster, namespace=namespace, name=f"{name}-1", database=primary.database)
    # There is no DNS, and a service's address leads from no pod to one of the same node: the standby is told.
    address = cluster.api.get("pod", primary.name, namespace=namespace)["status"]["podIP"]
    reach = f"timeout 5 bash -c '</dev/tcp/{address}/5432'"
    cluster.wait_for("the standby's container", lambda: _succeeds(standby, "true"), 60)
    if not _succeeds(standby, reach) and not _succeeds(standby, reach):
        require("pods", "those of this cluster do not reach each other")
    standby.exec(["sh", "-c", 'echo "$1" >/tmp/primary', "sh", address])
    cluster.wait_ready(namespace, standby.name)
    return primary, standby


def _succeeds(pod: PostgresPod, script: str) -> bool:
    try:
        pod.exec(["sh", "-c", script])
    except RigError:
        return False
    return True
