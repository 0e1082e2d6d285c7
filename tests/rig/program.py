"""A program of this checkout as a process of its own, forked from one that has imported most of what it needs.

Half of a short command's time goes into imports that are the same for each. What chooses a language as it is imported,
the command line, is imported anew. Where a process is measured, killed or started by another it is started by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.rig.engine import RigError

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.rig.preloaded"])


def run_program(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], answers: str = "", timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``python WORDS`` (``-m MODULE ...`` or ``FILE ...``), and return how it ended and what it wrote.

    One that has not ended after ``timeout_s`` is killed, and RigError says what it wrote.
    """
    if "COVERAGE_PROCESS_CONFIG" in env:
        # Coverage is measured from a process's start.
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=cwd, env=env, input=answers, timeout=timeout_s, text=True, capture_output=True, check=False
        )
    with TemporaryDirectory() as directory:
        streams = [Path(directory) / name for name in ("in", "out", "err")]
        for path, text in zip(streams, (answers, "", ""), strict=True):
            path.write_text(text)
        given = (list(words), str(cwd), dict(env), [str(path) for path in streams])
        process = _FORKS.Process(target=_become, args=given)
        process.start()
        process.join(timeout_s)
        out, err = (path.read_text() for path in streams[1:])
        if process.exitcode is None:
            process.kill()
            process.join()
            raise RigError(f"{' '.join(words)}: hangs; so far it said: {out}{err}")
        return subprocess.CompletedProcess(list(words), process.exitcode, out, err)


def _become(words: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> None:
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
