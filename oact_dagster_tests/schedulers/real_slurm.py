"""A real Slurm for tests: a controller and a few nodes on this machine's loopback, with all their files in one folder.

Nothing of a site's Slurm is read or written: every daemon and every client gets this one's SLURM_CONF, munge socket and
key. Daemons are children of the test process, and are ended by their process ids.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from oact_dagster_tests.waiting import until

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo")
SITE_CONFIGURATIONS = (Path("/etc/slurm/slurm.conf"), Path("/etc/slurm-llnl/slurm.conf"))
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# Also tests that are killed leave no daemon behind.
_DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []

CONFIGURATION = """\
ClusterName=oacttest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=default_queue_depth=1000,batch_sched_delay=0,sched_min_interval=0,sched_interval=1
ReturnToService=2
SlurmdParameters=config_overrides
MaxJobCount=20000
MaxArraySize={max_array_size}
MinJobAge={min_job_age}
KillWait=2
OverTimeLimit=0
SlurmdTimeout=5
SlurmctldTimeout=30
MessageTimeout=3
InactiveLimit=0
JobRequeue=1
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=24:00:00 DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=scav Nodes=n1 MaxTime=24:00:00 DefMemPerCPU=100 PriorityTier=0 PreemptMode=CANCEL State=UP
PartitionName=high Nodes=n1 MaxTime=24:00:00 DefMemPerCPU=100 PriorityTier=20 PreemptMode=OFF State=UP
PartitionName=short Nodes=n1 MaxTime=00:02:00 DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=two Nodes=n[1-2] MaxNodes=1 MaxTime=24:00:00 DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=last Nodes=n3 MaxTime=24:00:00 DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF State=UP
"""

# Each call of a client is written down with the configuration that it got; a test may put a fault in its place.
_CLIENT = """\
#!/bin/sh
echo "{name} ${{SLURM_CONF:-NONE}} $*" >> '{calls}'
if [ -x '{fault}' ]; then exec '{fault}' "$@"; fi
exec '{program}' "$@"
"""


def missing_programs() -> list[str]:
    """What is not installed."""
    return [name for name in (*DAEMONS, "mungekey", *CLIENTS) if shutil.which(name, path=_PATH) is None]


def site_configuration() -> str | None:
    """A Slurm that is there already, on whose machine no other one is to be started unasked."""
    found = [str(path) for path in SITE_CONFIGURATIONS if path.exists()]
    return os.environ.get("SLURM_CONF") or (found[0] if found else None)


class RealSlurm:
    """A cluster with nodes n1, n2, ….

    Args:
        nodes: how many.
        cpus: of each; they need not be there.
        max_array_size: tasks of an array are numbered below it.
        min_job_age: how long squeue tells of a job that has ended, s (the controller looks each 10 s).
    """

    def __init__(
        self, nodes: int = 3, cpus: int = 8, *, max_array_size: int = 1001, min_job_age: int = 10
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oact-slurm-"))
        self.configuration = self.folder / "slurm.conf"
        self.bin = self.folder / "bin"
        self.calls = self.folder / "calls"
        self._faults = self.folder / "faults"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._nodes = [f"n{number + 1}" for number in range(nodes)]
        ports = free_ports(nodes + 1)
        host = socket.gethostname().split(".")[0]
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=64000"
            for name, port in zip(self._nodes, ports[1:], strict=True)
        ]
        self.configuration.write_text(
            CONFIGURATION.format(
                host=host,
                port=ports[0],
                user=getpass.getuser(),
                folder=self.folder,
                nodes="\n".join(lines),
                max_array_size=max_array_size,
                min_job_age=min_job_age,
            )
        )
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n")
        for name in ("bin", "faults", "state"):
            (self.folder / name).mkdir()
        for name in CLIENTS:
            file = self.bin / name
            file.write_text(
                _CLIENT.format(
                    name=name,
                    calls=self.calls,
                    fault=self._faults / name,
                    program=shutil.which(name, path=_PATH),
                )
            )
            file.chmod(0o755)
        self.calls.touch()

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {"SLURM_CONF": str(self.configuration), "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def start(self) -> None:
        """Start all daemons, and return when all nodes are idle."""
        key = self.folder / "munge.key"
        subprocess.run([_program("mungekey"), "--create", f"--keyfile={key}"], check=True)
        self._start(
            "munged",
            [
                "--foreground",
                "--force",
                f"--key-file={key}",
                f"--socket={self.folder}/munge.socket",
                f"--pid-file={self.folder}/munged.pid",
                f"--log-file={self.folder}/munged.log",
                f"--seed-file={self.folder}/munged.seed",
            ],
        )
        until(lambda: (self.folder / "munge.socket").exists(), "munged")
        self._start("slurmctld", ["-D", "-f", str(self.configuration)])
        for name in self._nodes:
            self.start_node(name)
        until(lambda: self._idle() == len(self._nodes), f"the nodes; see {self.folder}/*.log")

    def start_node(self, name: str) -> None:
        """Start a node's daemon."""
        (self.folder / f"spool.{name}").mkdir(exist_ok=True)
        self._start("slurmd", ["-D", "-N", name, "-f", str(self.configuration)], name)

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon; what runs there goes on."""
        self._processes[name].kill()
        self._processes.pop(name).wait()

    def freeze(self) -> None:
        """Let the controller answer nothing."""
        self._processes["slurmctld"].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._processes["slurmctld"].send_signal(signal.SIGCONT)

    def stop_controller(self) -> None:
        """End the controller, which keeps its state."""
        process = self._processes.pop("slurmctld")
        process.terminate()
        process.wait(30)

    def start_controller(self) -> None:
        """Start it again."""
        self._start("slurmctld", ["-D", "-f", str(self.configuration)])
        until(lambda: self._idle() == len(self._nodes), "the controller")

    def put_fault(self, client: str, script: str) -> None:
        """Let a script run in a client's place; in it ``$REAL`` is the real one."""
        file = self._faults / client
        file.write_text(f"#!/bin/sh\nREAL='{shutil.which(client, path=_PATH)}'\n{script}\n")
        file.chmod(0o755)

    def mend(self) -> None:
        """Take all faults away, and let a frozen controller go on."""
        for file in self._faults.iterdir():
            file.unlink()
        if "slurmctld" in self._processes:
            self.thaw()

    def run(self, *command: str) -> str:
        """Run a client, and return what it printed; it is not counted as a call of the launcher."""
        program = shutil.which(command[0], path=_PATH)
        assert program is not None
        done = subprocess.run(
            [program, *command[1:]],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def jobs(self, form: str, job_id: str | None) -> list[str]:
        """The tasks of a job that squeue still knows, one a line."""
        array = str(job_id).partition("_")[0]
        return self.run("squeue", "-h", "-r", "-t", "all", "-j", array, "-o", form).splitlines()

    def calls_of(self, client: str) -> list[str]:
        """The calls of a client, each with its configuration and arguments."""
        return [line for line in self.calls.read_text().splitlines() if line.startswith(f"{client} ")]

    def clear(self) -> None:
        """End all jobs, and forget the calls."""
        self.mend()
        self.run("scancel", "--user", getpass.getuser())
        until(lambda: not self.run("squeue", "-h", "-o", "%i").strip(), "the jobs' end")
        self.calls.write_text("")

    def stop(self) -> None:
        """End the daemons, by their process ids, and remove the folder."""
        self.thaw() if "slurmctld" in self._processes else None
        with contextlib.suppress(Exception):
            self.run("scancel", "--user", getpass.getuser())
            until(lambda: not self.run("squeue", "-h", "-o", "%i").strip(), "the jobs' end", 20.0)
        for name in (*self._nodes, "slurmctld", "munged"):
            process = self._processes.pop(name, None)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, daemon: str, arguments: list[str], name: str | None = None) -> None:
        with (self.folder / f"{name or daemon}.output").open("ab") as log:
            self._processes[name or daemon] = subprocess.Popen(
                [*_DIES_WITH_US, _program(daemon), *arguments],
                env={**os.environ, "SLURM_CONF": str(self.configuration)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _idle(self) -> int:
        with contextlib.suppress(subprocess.CalledProcessError):
            nodes = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").splitlines()
            return sum(line.split()[1] in ("idle", "mix", "alloc") for line in nodes)
        return 0


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
