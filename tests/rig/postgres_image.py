#!/usr/bin/env python3
"""PostgreSQL images for the tests, made from Debian's packages where the official ones cannot be pulled.

    tests/rig/postgres_image.py [--jobs N] IMAGE…     IMAGE: 13, 15, 17, 18, nozstd, bare, or a full name

An image that the engine holds already under the name is used as it is, be it the official one. Otherwise it is loaded
from ``${XDG_CACHE_HOME:-~/.cache}/respaldo-rig/``, or built by mmdebstrap (as root) and saved there, under the hash of
its recipe. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.rig.engine import RigError, docker, has_image, run

ENTRYPOINT = Path(__file__).with_name("image") / "docker-entrypoint.sh"
# A Debian suite carries one major version of PostgreSQL.
SUITES = {13: "bullseye", 15: "bookworm", 17: "trixie", 18: "forky"}
# Images that lack a compressor, as some of the field do, and what is taken out to make them.
DERIVED_FROM = "postgres:15"
VARIANTS = {
    "respaldo-test/postgres-nozstd:15": ("zstd*", "unzstd", "pzstd"),
    "respaldo-test/postgres-bare:15": ("zstd*", "unzstd", "pzstd", "gzip", "gunzip", "uncompress", "zcat"),
}
SHORT_NAMES = {"nozstd": "respaldo-test/postgres-nozstd:15", "bare": "respaldo-test/postgres-bare:15"}
BUILD_TIMEOUT_S = 900


def bootstrap_command(major: int, tarball: str) -> list[str]:
    """The mmdebstrap command that writes the root file system of a PostgreSQL of this major version."""
    options = [f"--aptopt={option}" for option in ('Acquire::Retries "3"', 'Acquire::Languages "none"')]
    if SUITES[major] == "forky":
        # Debian's testing suite: a mirror's Release file may be past its date. Signatures are checked all the same.
        options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    options += [f"--dpkgopt=path-exclude=/usr/share/{directory}/*" for directory in ("doc", "man", "info", "locale")]
    packages = f"postgresql-{major},zstd,ca-certificates"
    return ["mmdebstrap", "--quiet", *options, "--variant=minbase", f"--include={packages}", SUITES[major], tarball]


def import_changes(major: int) -> list[str]:
    """What the official image sets: programs on PATH, PGDATA, its volume, port, entrypoint and command."""
    return [
        f"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/{major}/bin",
        "ENV PGDATA=/var/lib/postgresql/data",
        f"ENV PG_MAJOR={major}",
        "ENV LANG=C.UTF-8",
        "VOLUME /var/lib/postgresql/data",
        "EXPOSE 5432",
        'ENTRYPOINT ["docker-entrypoint.sh"]',
        'CMD ["postgres"]',
    ]


def recipe_hash(major: int) -> str:
    """Name everything that decides what the image holds, but for the day's packages."""
    recipe = json.dumps([bootstrap_command(major, "-"), import_changes(major), ENTRYPOINT.read_text()])
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def cache_file(major: int) -> Path:
    """Where the finished image is kept between runs, outside any checkout."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "respaldo-rig" / f"postgres-{major}-{recipe_hash(major)}.tar.zst"


def build(major: int, image: str) -> None:
    """Build the image with mmdebstrap; an interrupted build leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="respaldo-rig-") as directory:
        tarball = f"{directory}/root.tar"
        run(bootstrap_command(major, tarball), timeout_s=BUILD_TIMEOUT_S)
        program = Path(directory, "usr/local/bin/docker-entrypoint.sh")
        program.parent.mkdir(parents=True)
        program.write_bytes(ENTRYPOINT.read_bytes())
        program.chmod(0o755)
        run(["tar", "-C", directory, "--owner=0", "--group=0", "-rf", tarball, "./usr/local/bin/docker-entrypoint.sh"])
        changes = [argument for change in import_changes(major) for argument in ("--change", change)]
        docker("import", *changes, tarball, image, timeout_s=BUILD_TIMEOUT_S)


def save(major: int, image: str) -> None:
    """Keep the image for the next run; a cache that cannot be written is said and costs nothing but time."""
    target = cache_file(major)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as source:
            run_zstd = subprocess.run(["zstd", "-q", "-3", "-f", "-o", str(partial)], stdin=source.stdout, check=False)
        if source.returncode or run_zstd.returncode:
            raise RigError(f"docker save: status {source.returncode}, zstd: {run_zstd.returncode}")
        partial.replace(target)
    except (OSError, RigError) as error:
        print(f"{image}: not cached: {error}", file=sys.stderr)
    finally:
        partial.unlink(missing_ok=True)


def load(major: int, image: str) -> bool:
    """Load the image from the cache; tell whether it was there and whole."""
    source = cache_file(major)
    if not source.exists() or shutil.which("zstd") is None:
        return False
    with subprocess.Popen(["zstd", "-dcq", str(source)], stdout=subprocess.PIPE) as unpacked:
        loaded = subprocess.run(["docker", "load", "--quiet"], stdin=unpacked.stdout, capture_output=True, check=False)
    if loaded.returncode or unpacked.returncode:
        print(f"{image}: {source} is damaged, removed", file=sys.stderr)
        source.unlink(missing_ok=True)
        return False
    return has_image(image)


def derive(image: str) -> None:
    """Make one of VARIANTS: postgres:15 without some programs, its entrypoint and environment kept."""
    files = " ".join(f"/usr/bin/{name} /bin/{name} /usr/local/bin/{name}" for name in VARIANTS[image])
    container = docker("create", "--entrypoint", "/bin/sh", DERIVED_FROM, "-c", f"rm -f {files}").decode().strip()
    try:
        docker("start", "--attach", container)
        entrypoint, command = (
            docker("image", "inspect", "--format", f"{{{{json .Config.{part}}}}}", DERIVED_FROM).decode().strip()
            for part in ("Entrypoint", "Cmd")
        )
        docker("commit", "--change", f"ENTRYPOINT {entrypoint}", "--change", f"CMD {command}", container, image)
    finally:
        docker("rm", "--force", "--volumes", container)


def ensure(image: str, *, may_build: bool = True) -> str:
    """See to it that the engine holds the image; say how: present, loaded, built, derived. Raise RigError if it can't.

    Without ``may_build`` nothing is fetched, and it takes seconds.
    """
    if has_image(image):
        return "present"
    if image in VARIANTS:
        ensure(DERIVED_FROM, may_build=may_build)
        derive(image)
        return "derived"
    name, _, tag = image.partition(":")
    major = int(tag) if tag.isdigit() else 0
    if name != "postgres" or major not in SUITES:
        raise RigError(f"no recipe for the image {image}")
    if load(major, image):
        return "loaded"
    if not may_build or shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise RigError(
            f"no image {image}: `docker pull {image}`; or as root, with mmdebstrap, tests/rig/postgres_image.py {major}"
        )
    build(major, image)
    save(major, image)
    return "built"


def _full_name(word: str) -> str:
    return f"postgres:{word}" if word.isdigit() else SHORT_NAMES.get(word, word)


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring up PostgreSQL images for the tests.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="13, 15, 17, 18, nozstd, bare, or a full name")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    arguments = parser.parse_args()
    images = [_full_name(word) for word in arguments.images]
    begin = time.monotonic()

    def attempt(image: str) -> bool:
        for last in (False, True):
            try:
                how = ensure(image)
            except RigError as error:
                print(f"{image}: {error}" + ("" if last else "; once more"), file=sys.stderr, flush=True)
            else:
                print(f"{image}: {how} after {time.monotonic() - begin:.0f} s", flush=True)
                return True
        return False

    # Variants come after what they are made from.
    done = []
    for group in ([i for i in images if i not in VARIANTS], [i for i in images if i in VARIANTS]):
        with ThreadPoolExecutor(arguments.jobs) as pool:
            done += list(pool.map(attempt, group))
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
