#!/usr/bin/env python3
"""respaldo's own image, built by the recipe that users have: where the base cannot be pulled, one of Debian's packages
takes its name. Standard library only.

    tests/rig/kube_image.py [IMAGE | --base]     --base: only see to it that the base is there
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.rig.engine import RigError, docker, has_image, run

BASE = "python:3.13-slim"
SUITE = "trixie"  # its Python is 3.13
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates,netbase,tzdata"
IMAGE = "respaldo:0.1.0"  # as deploy/kubernetes/cronjob.yaml names it
ROOT = Path(__file__).resolve().parents[2]
BUILD_TIMEOUT_S = 600
#: What the image is made from; it is built again when any of it changes.
INPUTS = ("deploy/image", "src", "pyproject.toml", "requirements.txt", "LICENSE")
INPUT_LABEL = "respaldo.test.inputs"


def ensure_base() -> None:
    """See to it that the engine holds the base image, under its official name."""
    if has_image(BASE):
        return
    cached = cache_file()
    if not cached.exists():
        build_base(cached)
    changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ENV LANG=C.UTF-8",
        'CMD ["python3"]',
    ]
    words = [word for change in changes for word in ("--change", change)]
    docker("import", *words, str(cached), BASE, timeout_s=BUILD_TIMEOUT_S)


def build_base(target: Path) -> None:
    """Build the base's root file system with mmdebstrap, as root."""
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise RigError(f"no image {BASE}: `docker pull {BASE}`; or as root, with mmdebstrap, tests/rig/kube_image.py")
    options = ['--aptopt=Acquire::Retries "3"', '--aptopt=Acquire::Languages "none"']
    options += [f"--dpkgopt=path-exclude=/usr/share/{directory}/*" for directory in ("doc", "man", "info", "locale")]
    link = "--customize-hook=ln -s python3 $1/usr/bin/python"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="respaldo-rig-") as directory:
        tarball = f"{directory}/root.tar"
        command = [
            "mmdebstrap",
            "--quiet",
            *options,
            "--variant=minbase",
            f"--include={PACKAGES}",
            link,
            SUITE,
            tarball,
        ]
        run(command, timeout_s=BUILD_TIMEOUT_S)
        partial = target.with_suffix(f".{os.getpid()}.partial")
        shutil.copyfile(tarball, partial)
        partial.replace(target)


def cache_file() -> Path:
    """Where the base is kept between runs, outside any checkout."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = hashlib.sha256(f"{SUITE} {PACKAGES}".encode()).hexdigest()[:16]
    return root / "respaldo-rig" / f"python-{recipe}.tar"


def inputs_digest() -> str:
    """Name the content of everything that the image is made from."""
    digest = hashlib.sha256()
    for name in INPUTS:
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file):
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def ensure_image(image: str = IMAGE) -> str:
    """Build respaldo's image unless the engine holds it as the sources are now; return its name. Of two that want it
    at once one builds."""
    with Path(tempfile.gettempdir(), "respaldo-rig-image.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _ensure_image(image)


def _ensure_image(image: str) -> str:
    digest = inputs_digest()
    if has_image(image):
        labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image)) or {}
        if labels.get(INPUT_LABEL) == digest:
            return image
    ensure_base()
    build = [str(ROOT / "deploy/image/build.sh"), image, "--label", f"{INPUT_LABEL}={digest}"]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(build, env=environment, capture_output=True, timeout=BUILD_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise RigError(f"{' '.join(build)}: {(done.stdout + done.stderr).decode(errors='replace')[-3000:]}")
    return image


if __name__ == "__main__":
    if sys.argv[1:] == ["--base"]:
        ensure_base()
        print(BASE)
    else:
        print(ensure_image(*sys.argv[1:]))
