"""A campaign with a real Dagster daemon, its sensors on, whose processes can be killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import psutil
from dagster import AssetKey, DagsterInstance, DynamicPartitionsDefinition

from oact_dagster.defs.instance import dagster_home
from oact_dagster.errors import LedgerError
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import AttemptRecord, Status, StructureRecord
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine

MODULE: Final = "oact_dagster.definitions"
SENSORS: Final = ("intake", "feed", "timeout", "retry", "harvest")

WORDS: Final = (
    *("normal",) * 12,
    "slow",
    "slow normal",
    "crash normal",
    "crash",
    "hang normal",
    "hang",
    "stubborn normal",
    "half normal",
    "half",
    "silent normal",
    "nonsense normal",
    "nonsense",
    "scf_not_converged normal",
    "scf_not_converged",
    "foreign normal",
    "stderr normal",
    "exit7 normal",
    "input_error",
)
"""What the engine does with a structure's attempts in turn; the last word is kept."""


class World:
    """Args:
    folder: empty.
    structures: how many.
    seed: decides what the engine does, and who is killed.
    behaviours: what the engine does with each structure's attempts; None: the dice say it.
    **settings: of the campaign, beside those of all these tests.
    """

    def __init__(
        self,
        folder: Path,
        structures: int,
        seed: int,
        behaviours: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        self.random = Random(seed)
        self.structures = structures
        self.engine = TestEngine(folder)
        for number in range(structures):
            self.engine.set(behaviours[number] if behaviours else self.random.choice(WORDS), number)
        campaign: Campaign = write_campaign(
            folder / "campaign",
            structures,
            self.engine.path,
            settings={
                "batch_size": 20,
                "max_in_flight": 40,
                "launcher": {
                    "max_workers": 2,
                    "job_timeout_s": 6,
                    "stop_grace_s": 0.5,
                    "silence_limit_s": 20,
                },
                "retry": {"max_failures": 2, "max_losses": 6, "delay_s": 2, "longest_delay_s": 5},
                # Half of what this engine does is a failure.
                "feed": {"interval_s": 5, "trial": 10, "pause_at_failure_rate": 1.0},
                **settings,
            },
        )
        self.campaign = load_campaign(campaign.file)
        self.home = dagster_home(self.campaign)
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "OACT_CAMPAIGN": str(self.campaign.file),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            # Code servers of a daemon that was killed end soon.
            "DAGSTER_GRPC_HEARTBEAT_TIMEOUT": "10",
        }
        self.log = (folder / "daemon.log").open("ab")
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.instance = DagsterInstance.from_config(str(self.home))

    # --- its processes --------------------------------------------------------------------------------------

    def start_daemon(self) -> None:
        self.daemons.append(
            subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-m", MODULE],
                env=self.environment,
                cwd=self.campaign.folder,
                stdout=self.log,
                stderr=self.log,
                start_new_session=True,
            )
        )

    def switch_on(self) -> None:
        for name in SENSORS:
            subprocess.run(
                [sys.executable, "-m", "dagster", "sensor", "start", f"{name}_sensor", "-m", MODULE],
                env=self.environment,
                cwd=self.campaign.folder,
                stdout=self.log,
                stderr=self.log,
                check=True,
            )

    def ours(self) -> list[psutil.Process]:
        """All processes of this campaign: they have its file in their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if (
                    process.environ().get("OACT_CAMPAIGN") == str(self.campaign.file)
                    and process.pid != os.getpid()
                ):
                    found.append(process)
        return found

    def run_workers(self) -> list[psutil.Process]:
        # A code server begins each run as a process of multiprocessing's, whose command line names no run.
        return [one for one in self.ours() if "multiprocessing.spawn" in _command(one)]

    def payloads(self) -> list[psutil.Process]:
        return [one for one in self.ours() if "oact_dagster.launchers.payload" in _command(one)]

    def kill_somebody(self) -> str:
        """Kill what the dice say, with -9; empty where there was none of that kind."""
        kind = self.random.choice(("run worker", "run worker", "payload", "daemon", "everything"))
        if kind == "everything":
            killed = self.kill_all()
        else:
            victims = {
                "run worker": self.run_workers,
                "payload": self.payloads,
                "daemon": self.ours_of_the_daemon,
            }[kind]()
            if kind != "daemon" and victims:
                victims = [self.random.choice(victims)]
            self.kill(victims)
            killed = len(victims)
        if kind in ("daemon", "everything"):
            self.start_daemon()
        return kind if killed else ""

    def kill(self, victims: Iterable[psutil.Process]) -> None:
        """Kill processes with -9; daemons among them are gone afterwards."""
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        time.sleep(0.1)
        self.daemons = [one for one in self.daemons if one.poll() is None]

    def kill_all(self) -> int:
        """Kill everything with -9, also what one of them started while the others were killed.

        Returns:
            How many there were.
        """
        killed = 0
        while found := self.ours():
            killed += len(found)
            self.kill(found)
        return killed

    def ours_of_the_daemon(self) -> list[psutil.Process]:
        return [psutil.Process(one.pid) for one in self.daemons if one.poll() is None]

    def stop(self) -> None:
        """End the daemon as a user does, then whatever is left."""
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
        self.kill_all()
        self.log.close()
        self.instance.dispose()

    # --- how it goes ----------------------------------------------------------------------------------------

    def look(self) -> LedgerReader:
        return open_reader(self.campaign.ledger)

    def counts(self) -> dict[Status, int]:
        if not self.campaign.ledger.exists():
            return {}
        try:
            with contextlib.closing(self.look()) as ledger:
                return ledger.figures.count_by_status()
        except LedgerError as error:
            assert "has no tables yet" in str(error), "it is just being made"
            return {}

    def is_over(self) -> bool:
        """Whether nothing is left that may run: all are completed, or set aside, also for what they lost."""
        counts = self.counts()
        if sum(counts.values()) < self.structures or counts.get(Status.RUNNING):
            return False
        return all(
            self.is_set_aside(one) for one in self.records().values() if one.status is not Status.COMPLETED
        )

    def is_set_aside(self, record: StructureRecord) -> bool:
        retry = self.campaign.retry
        if record.fail_count >= retry.max_failures or record.loss_count >= retry.max_losses:
            return True
        with contextlib.closing(self.look()) as ledger:
            row = ledger.file.one(
                "SELECT set_aside_for FROM structure_state st JOIN structures s ON s.id = st.structure_id"
                " WHERE s.orig_index = ?",
                (record.orig_index,),
            )
        return row is not None and row[0] == self.campaign.retry_key()

    def records(self) -> dict[int, StructureRecord]:
        with contextlib.closing(self.look()) as ledger:
            return ledger.structures.of(range(self.structures))

    def attempts(self) -> dict[int, list[AttemptRecord]]:
        with contextlib.closing(self.look()) as ledger:
            return ledger.history.attempts_of(range(self.structures))

    def colours(self) -> dict[int, str | None]:
        """The status of each partition of ``orca_results``."""
        name = self.campaign.partitions_name
        found = self.instance.get_status_by_partition(
            AssetKey("orca_results"),
            self.instance.get_dynamic_partitions(name),
            DynamicPartitionsDefinition(name=name),
        )
        return {int(key): None if one is None else one.value for key, one in (found or {}).items()}

    def is_shown(self) -> bool:
        """Whether the web page shows each structure as the ledger has it, and no run is left."""
        colours, records = self.colours(), self.records()
        wanted = {
            index: "MATERIALIZED" if record.status is Status.COMPLETED else "FAILED"
            for index, record in records.items()
        }
        return colours == wanted and not self.run_workers()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextlib.contextmanager
def world(folder: Path, structures: int, seed: int, **settings: Any) -> Iterator[World]:
    """A world whose daemon and sensors run from the start, and end with all other processes of it.

    The engine must be told by ``behaviours`` what to do: a run may begin before this returns.
    """
    made = World(folder, structures, seed, **settings)
    try:
        made.start_daemon()
        made.switch_on()
        yield made
    finally:
        made.stop()


def live(made: World, seconds: float, kills: int, every_s: float) -> list[str]:
    """Let a campaign run to its end, and kill somebody now and then.

    Returns:
        Who was killed.

    Raises:
        AssertionError: it does not come to its end.
    """
    limit = time.monotonic() + seconds
    killed: list[str] = []
    next_kill = time.monotonic() + every_s
    while not (made.is_over() and made.is_shown()):
        assert time.monotonic() < limit, f"not over: {made.counts()}, killed: {killed}"
        if kills and time.monotonic() >= next_kill and made.counts().get(Status.RUNNING):
            who = made.kill_somebody()
            if who:
                killed.append(who)
                kills -= 1
                next_kill = time.monotonic() + every_s * made.random.uniform(1.0, 1.3)
        time.sleep(1.0)
    return killed
