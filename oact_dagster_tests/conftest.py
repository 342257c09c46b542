"""Fixtures that every part of the tests shares."""

import contextlib
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from oact_dagster_tests.launchers.marked import mark, marked
from oact_dagster_tests.requirements import lacking
from oact_dagster_tests.schedulers.real_slurm import RealSlurm, missing_programs, site_configuration


def pytest_configure() -> None:
    """Let Ctrl+C reach what the tests start: a shell starts what runs in its background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW = {"browser", "chaos", "engine", "flux", "parsl", "postgres", "slurm"}
"""What starts a server or computes; `slow` leaves them out with all that has that mark itself."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark such tests as slow before ``-m`` chooses."""
    for item in items:
        if any(marker.name in SLOW for marker in item.iter_markers()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def orca_outputs() -> Path:
    """The folder of real ORCA outputs with their ``truth.json``."""
    where = os.environ.get("OACT_TEST_DATA")
    if not where:
        lacking("data", "set OACT_TEST_DATA to a folder of real ORCA outputs with a truth.json")
    folder = Path(str(where))
    if not (folder / "truth.json").is_file():
        lacking("data", f"OACT_TEST_DATA={where} holds no truth.json")
    return folder


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[RealSlurm]:
    missing = missing_programs()
    if missing:
        lacking("slurm", f"no {', '.join(missing)}; apt-get install slurm-wlm slurm-wlm-basic-plugins munge")
    site = site_configuration()
    if site is not None and os.environ.get("OACT_TEST_SLURM") != "1":
        lacking(
            "slurm", f"this machine has a Slurm ({site}); OACT_TEST_SLURM=1 starts one of its own beside it"
        )
    cluster = RealSlurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def slurm(slurm_cluster: RealSlurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSlurm]:
    """The cluster, empty, with its clients on PATH."""
    slurm_cluster.clear()
    for key, value in slurm_cluster.environment.items():
        monkeypatch.setenv(key, value)
    yield slurm_cluster
    # Every client that a test started had the test's own configuration.
    strangers = [
        line
        for line in slurm_cluster.calls.read_text().splitlines()
        if line.split()[1] != str(slurm_cluster.configuration)
    ]
    assert not strangers
    slurm_cluster.mend()


@pytest.fixture
def parsl_is_there() -> None:
    if importlib.util.find_spec("parsl") is None:
        lacking("parsl", "pip install parsl")


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The mark of all processes of this test; none of them is left at its end."""
    value = mark(monkeypatch)
    yield value
    left = marked(value)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert left == []
