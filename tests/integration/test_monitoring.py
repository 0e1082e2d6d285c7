"""Metrics, rules, dashboard: read by Prometheus's own tool; and every metric asked for is one that is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from respaldo.metrics.exposition import RepositorySample, TargetSample, write_metrics
from respaldo.metrics.textfile import write_textfile
from tests.rig.requirements import require

MONITORING = Path(__file__).parents[2] / "deploy/monitoring"
NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)


def sample(*targets: TargetSample) -> RepositorySample:
    return RepositorySample(
        version="0.1.0", repository="/srv/backups", rpo_s=86400, rto_s=300, undelivered=2, targets=targets
    )


FULL = TargetSample(
    target="pc_db/pc_db",
    last_backup=NOW,
    duration_s=4.25,
    raw_bytes=1_400_000_000,
    stored_bytes=5_900_000,
    rows=12_345_678_901,
    tables=41,
    last_proof=NOW,
    is_proven=True,
    recovery_s=12.5,
    failures=3,
    failures_in_a_row=1,
    last_failure=NOW,
    next_run=NOW,
    backups={"full": 2, "incremental": 5},
    stored={"full": 100, "incremental": 50},
)


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    require("promtool", None if path else "there is no promtool here (Debian's package prometheus)")
    assert path is not None
    return path


def run(promtool: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool, *words], cwd=MONITORING, input=given, capture_output=True, text=True, check=False, timeout=60
    )


def written() -> set[str]:
    return set(re.findall(r"^# TYPE (\w+) ", write_metrics(sample(FULL)), re.MULTILINE))


def queries() -> Iterator[str]:
    dashboard = json.loads((MONITORING / "respaldo-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield from re.findall(r"label_values\((.*),", variable.get("definition", ""))
    rules: Any = yaml.safe_load((MONITORING / "respaldo-rules.yaml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])


def test_every_number_of_a_target_is_written() -> None:
    text = write_metrics(sample(FULL))
    for line in (
        'respaldo_build_info{repository="/srv/backups",version="0.1.0"} 1',
        'respaldo_last_backup_timestamp_seconds{target="pc_db/pc_db"} 1795572000',
        'respaldo_last_backup_duration_seconds{target="pc_db/pc_db"} 4.25',
        'respaldo_last_backup_data_bytes{target="pc_db/pc_db"} 1400000000',
        'respaldo_last_backup_rows{target="pc_db/pc_db"} 12345678901',
        'respaldo_last_proof_success{target="pc_db/pc_db"} 1',
        'respaldo_recovery_seconds{target="pc_db/pc_db"} 12.5',
        'respaldo_backup_failures_total{target="pc_db/pc_db"} 3',
        'respaldo_rpo_objective_seconds{target="pc_db/pc_db"} 86400',
        'respaldo_backups{target="pc_db/pc_db",type="incremental"} 5',
        'respaldo_undelivered_messages{repository="/srv/backups"} 2',
    ):
        assert f"{line}\n" in text


def test_what_is_not_known_is_left_out_and_no_backup_is_as_old_as_can_be() -> None:
    text = write_metrics(sample(TargetSample(target="a/b")))
    assert 'respaldo_last_backup_timestamp_seconds{target="a/b"} 0\n' in text
    assert "respaldo_last_backup_rows" not in text
    assert "respaldo_recovery_seconds" not in text


def test_prometheus_reads_the_metrics_of_any_name(promtool: str) -> None:
    odd = TargetSample(target='i"\\\n\udc80/ñ', last_backup=NOW, backups={"full": 1})
    for text in (write_metrics(sample(FULL, odd)), write_metrics(sample(TargetSample(target="a/b")))):
        done = run(promtool, "check", "metrics", given=text)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_prometheus_loads_the_rules_and_each_fires_when_it_should(promtool: str) -> None:
    checked = run(promtool, "check", "rules", "respaldo-rules.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run(promtool, "test", "rules", "respaldo-rules.test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    rules: Any = yaml.safe_load((MONITORING / "respaldo-rules.yaml").read_text())
    fired = yaml.safe_load((MONITORING / "respaldo-rules.test.yaml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    proven = {one["alertname"] for test in fired["tests"] for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert proven == names


def test_prometheus_understands_every_query_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace('"$target"', '".*"')}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(promtool, "check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_asked_for_is_written() -> None:
    asked = {name for query in queries() for name in re.findall(r"\brespaldo_\w+", query)}
    assert asked - written() == set()
    # And nothing is written for nobody, but what only says which version it is.
    assert written() - asked <= {
        "respaldo_build_info",
        "respaldo_last_backup_tables",
        "respaldo_last_failure_timestamp_seconds",
    }


def test_dashboard_has_what_grafana_needs() -> None:
    dashboard = json.loads((MONITORING / "respaldo-dashboard.json").read_text())
    assert (dashboard["uid"], dashboard["schemaVersion"] >= 36) == ("respaldo", True)
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    places: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["datasource"]["uid"] == "${datasource}"
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells


def test_textfile_is_replaced_whole_and_a_failure_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "respaldo.prom"
    write_textfile(path, "old 1\n")
    write_textfile(path, "new 1\n")
    assert path.read_text() == "new 1\n"
    with pytest.raises(OSError, match="none"):
        write_textfile(tmp_path / "none/respaldo.prom", "x 1\n")
    assert [one.name for one in tmp_path.iterdir()] == ["respaldo.prom"]
