"""Format 1 as docs/repository-format.md has it: read by nothing of respaldo, only JSON, BLAKE3 and zstd."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from respaldo.clock import SystemClock
from respaldo.repository.codec import compress
from respaldo.repository.delta import encode_delta
from respaldo.repository.records import BackupFacts, BackupType, Decision, Series, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage

TARGET = TargetPath(instance="pc_db", database="postgres")
FACTS = BackupFacts(
    started=datetime(2026, 11, 24, 2, 0, tzinfo=UTC),
    environment="docker",
    tool_version="0.1.0",
    decision=Decision(code="first", text="no full backup yet"),
    tables=1,
)
BASE = {"a": b"1\tuno\n" * 5000, "b": b"2\tdos\n" * 5000, "c": b""}
CHANGED = {"a": BASE["a"], "b": BASE["b"].replace(b"dos\n", b"tres\n", 3), "c": b"x\n", "d": b"4\n"}


def write(root: Path) -> None:
    repository = Repository.open_or_create(DirectoryStorage(root), SystemClock())
    with repository.acquire(TARGET) as lease:
        with repository.begin(TARGET, "lunes", type=BackupType.FULL, base=None, lease=lease) as full:
            pack, series = full.new_pack(), full.add_series(Series(key="t", head="COPY t FROM stdin;\n", tail="\\.\n"))
            for part, text in BASE.items():
                digest = blake3(text).hexdigest()
                pack.add_frame(series, part, compress(text), raw_size=len(text), rows=text.count(b"\n"), digest=digest)
            full.put_object("schema.dump", b"PGDMP")
            full.commit(FACTS)
        base = repository.reader(TARGET, "lunes")
        with repository.begin(TARGET, "martes", type=BackupType.INCREMENTAL, base=base, lease=lease) as incremental:
            pack, series = incremental.new_pack(), incremental.add_series(Series(key="t"))
            for part, text in CHANGED.items():
                size, rows, digest = len(text), text.count(b"\n"), blake3(text).hexdigest()
                if part not in BASE:
                    pack.add_frame(series, part, compress(text), raw_size=size, rows=rows, digest=digest)
                elif text == BASE[part]:
                    incremental.add_ref(series, part, base_part=part, raw_size=size, rows=rows, digest=digest)
                else:
                    delta = encode_delta(text, BASE[part])
                    pack.add_delta(series, part, delta, base_part=part, raw_size=size, rows=rows, digest=digest)
            incremental.commit(FACTS)


def unzstd(frame: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-d", "-c", "-q", *options], input=frame, capture_output=True, check=True).stdout


def read_backup(directory: Path, scratch: Path) -> dict[tuple[str, str], bytes]:
    data = (directory / "manifest.json").read_bytes()
    assert data[-85:] == b',\n  "checksum": "%s"\n}\n' % blake3(data[:-85]).hexdigest().encode()
    manifest: dict[str, Any] = json.loads(data)
    assert manifest["format"] == 1
    for entry in manifest["objects"]:
        stored = (directory / (manifest["prefix"] + entry["name"])).read_bytes()
        assert (len(stored), blake3(stored).hexdigest()) == (entry["size"], entry["blake3"])
    base = read_backup(directory.parent / manifest["base"], scratch) if manifest["base"] else {}
    table = json.loads(unzstd((directory / (manifest["prefix"] + "segments.json.zst")).read_bytes()))
    texts = {}
    for row in table["segments"]:
        segment = dict(zip(table["columns"], row, strict=True))
        key = table["series"][segment["series"]][0]
        if segment["kind"] == "ref":
            text = base[key, segment["base_part"]]
        else:
            pack = (directory / (manifest["prefix"] + segment["pack"])).read_bytes()
            frame = pack[segment["offset"] :][: segment["length"]]
            prefix = base[key, segment["base_part"]] if segment["kind"] == "delta" else b""
            scratch.write_bytes(prefix)
            text = unzstd(frame, f"--patch-from={scratch}", "--long=30") if len(prefix) >= 8 else unzstd(frame)
        assert (len(text), text.count(b"\n")) == (segment["raw_size"], segment["rows"])
        assert blake3(text).hexdigest() == segment["blake3"]
        texts[key, segment["part"]] = text
    return texts


def test_stranger_reads_a_full_and_an_incremental(tmp_path: Path) -> None:
    write(tmp_path / "backups")
    target = tmp_path / "backups" / "pc_db" / "postgres"
    assert read_backup(target / "lunes", tmp_path / "prefix") == {("t", part): text for part, text in BASE.items()}
    assert read_backup(target / "martes", tmp_path / "prefix") == {("t", part): text for part, text in CHANGED.items()}


def test_stranger_pipes_a_full_to_psql(tmp_path: Path) -> None:
    write(tmp_path / "backups")
    directory = tmp_path / "backups" / "pc_db" / "postgres" / "lunes"
    sql = unzstd(b"".join(path.read_bytes() for path in sorted(directory.glob("*data-*.sql.zst"))))
    assert sql == b"COPY t FROM stdin;\n" + b"".join(BASE.values()) + b"\\.\n"
