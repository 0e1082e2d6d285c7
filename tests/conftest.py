"""What every test may ask for: an engine, PostgreSQL in containers or embedded, a database of its own."""

from __future__ import annotations

import gc
import os
import re
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Protocol

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.rig import embedded as embedded_rig
from tests.rig import engine, kube_cluster
from tests.rig.compose import compose_demo
from tests.rig.containers import PostgresContainer, start_postgres
from tests.rig.database import Database, Server, database_on
from tests.rig.kube_cluster import KubernetesCluster
from tests.rig.postgres_image import ensure
from tests.rig.requirements import require, required

# The product reads these; a machine's own must not reach a test. Tests that mean them set them.
PRODUCT_VARIABLES = {
    "CONTAINER_NAME", "POSTGRES_CONTAINER", "BACKUP_DIR", "POD_NAME", "NAMESPACE", "KUBE_NAMESPACE", "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST", "NO_COLOR", "FORCE_COLOR", "LANGUAGE", "LC_ALL", "LC_MESSAGES",
}  # fmt: skip
PRODUCT_PREFIXES = ("PG", "POSTGRES_", "RETENTION_", "RESPALDO_", "SLACK_")
# These are read by the tests themselves.
RIG_VARIABLES = {"RESPALDO_REQUIRE", kube_cluster.VARIABLE}

for _name in list(os.environ):
    if _name in PRODUCT_VARIABLES or (_name.startswith(PRODUCT_PREFIXES) and _name not in RIG_VARIABLES):
        del os.environ[_name]
os.environ["LANG"] = "C.UTF-8"
# The engine's clients wait more than they work; Go's threads that look for work take a tenth of each.
os.environ["GOMAXPROCS"] = "1"

# Files whose tests share the one cluster, or count the engine's drills and use the one container pc_db.
ONE_AT_A_TIME = {
    "cluster": re.compile("kube|move|contract/test_environment"),
    "drills": re.compile("drill|manual|compose"),
}

# Files, and groups of them, that take minutes: they start first, so that none is left alone at the end.
LONGEST = ("cluster", "drills", "test_round_trip", "test_foreign", "test_restore.py", "test_kill", "test_inside")

# Far above what any test takes, below what a person or CI would wait. A test that hangs fails with its stack.
HANGS_AFTER_S = 240


class ContainerFactory(Protocol):
    """Starts a PostgreSQL container that ends with the test; see ``tests.rig.containers.start_postgres``."""

    def __call__(self, major: int = 15, *, image: str | None = None, **options: Any) -> PostgresContainer: ...


class DatabaseFactory(Protocol):
    """Makes an empty database that ends with the test, on the shared server of a major version or on a given one."""

    def __call__(self, major: int = 15, *, server: Server | None = None, options: str = "") -> Database: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine, a cluster or the embedded server, so that ``-m 'not docker'`` leaves it out; put the
    longest first."""
    items.sort(key=lambda item: _place(item.nodeid.split("::")[0]))
    for item in items:
        names = getattr(item, "fixturenames", ())
        for fixture, mark in (
            ("docker_engine", pytest.mark.docker),
            ("kubernetes_cluster", pytest.mark.kubernetes),
            ("embedded_postgres", pytest.mark.embedded),
        ):
            if fixture in names:
                item.add_marker(mark)


def pytest_collection_finish() -> None:
    """Have garbage be looked for only in what tests make: some 150 000 objects of modules and tests stay to the end."""
    gc.freeze()


def _group_of(file: str) -> str:
    return next((name for name, pattern in ONE_AT_A_TIME.items() if pattern.search(file)), file)


def _place(file: str) -> int:
    group = _group_of(file)
    return next((place for place, name in enumerate(LONGEST) if name in group), len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several workers: a file's tests stay on one, and so do those of the files that share what there is one of."""
    scheduling = LoadFileScheduling(config, log)
    file_of = scheduling._split_scope

    scheduling._split_scope = lambda nodeid: _group_of(file_of(nodeid))
    return scheduling


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of what this run requires into a failure, however the test came to skip itself."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        marks = sorted(required() & {mark.name for mark in item.iter_markers()})
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if marks and not reason.startswith("Skipped: needs "):
            report.outcome = "failed"
            report.longrepr = f"skipped, though this run requires {', '.join(marks)}: {reason}"
    return report


@contextmanager
def _failing_when_it_hangs(item: pytest.Item) -> Iterator[None]:
    def fail(number: int, frame: FrameType | None) -> None:
        # Failed is no Exception: nothing under test takes it for an error of its own.
        pytest.fail(f"{item.nodeid} hangs: not done after {HANGS_AFTER_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(HANGS_AFTER_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Bound what the test's fixtures take."""
    with _failing_when_it_hangs(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Bound what the test takes."""
    with _failing_when_it_hangs(item):
        yield


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[None]:
    """A Docker engine that answers. Earlier runs' leftovers go first, this one's at the end."""
    require("docker", engine.why_no_engine())
    engine.remove_abandoned()
    yield
    engine.remove_own()


@pytest.fixture(scope="session")
def kubernetes_cluster() -> Iterator[KubernetesCluster]:
    """A Kubernetes cluster that answers: the one that RESPALDO_TEST_KUBECONFIG names, else this machine's own, which
    is started and ended by the session unless it ran before."""
    named = os.environ.get(kube_cluster.VARIABLE)
    with ExitStack() as stack:
        cluster, missing = None, None
        try:
            if named:
                cluster = kube_cluster.named_cluster(named)
            else:
                require("docker", engine.why_no_engine())
                cluster = stack.enter_context(kube_cluster.own_cluster())
        except engine.RigError as error:
            missing = str(error)
        require("kubernetes", missing)
        assert cluster is not None
        cluster.remove_abandoned()
        yield cluster


def _image(image: str) -> str:
    missing = None
    try:
        ensure(image, may_build=False)
    except engine.RigError as error:
        missing = str(error)
    require(image.removeprefix("respaldo-test/"), missing)
    return image


@pytest.fixture
def postgres_container(docker_engine: None) -> Iterator[ContainerFactory]:
    """Starts PostgreSQL containers for one test: ``postgres_container(17, args=("-c", "wal_level=logical"))``."""
    with ExitStack() as stack:

        def start(major: int = 15, *, image: str | None = None, **options: Any) -> PostgresContainer:
            container = start_postgres(_image(image or f"postgres:{major}"), **options)
            stack.callback(container.remove)
            return container

        yield start


@pytest.fixture(scope="module")
def pc_db(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresContainer]:
    """The demonstration of docker-compose.yml."""
    with compose_demo(tmp_path_factory.mktemp("compose")) as container:
        yield container


@pytest.fixture(scope="session")
def shared_postgres(docker_engine: None) -> Iterator[Callable[[int], PostgresContainer]]:
    """One server of each major version for the whole session. Tests make databases on it and leave the rest alone."""
    running: dict[int, PostgresContainer] = {}

    def get(major: int = 15) -> PostgresContainer:
        if major not in running:
            running[major] = start_postgres(_image(f"postgres:{major}"))
        return running[major]

    yield get
    for container in running.values():
        container.remove()


@pytest.fixture
def fresh_database(request: pytest.FixtureRequest) -> Iterator[DatabaseFactory]:
    """Makes databases for one test: ``fresh_database(17)``, or ``fresh_database(server=embedded_postgres)``."""
    with ExitStack() as stack:

        def make(major: int = 15, *, server: Server | None = None, options: str = "") -> Database:
            if server is None:
                shared: Callable[[int], PostgresContainer] = request.getfixturevalue("shared_postgres")
                server = shared(major)
            return stack.enter_context(database_on(server, options=options))

        yield make


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[embedded_rig.EmbeddedPostgres]:
    """The embedded server, shared by the session. A test that stops it starts it again."""
    require("embedded", embedded_rig.why_unavailable())
    with embedded_rig.embedded_postgres() as server:
        yield server


@pytest.fixture
def as_root() -> None:
    """Only where the test may do what root may."""
    require("root", None if os.geteuid() == 0 else "this user is not root")
