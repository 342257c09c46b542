"""Parsl's configuration of a pool of workers, on this node, in this allocation, or in blocks of nodes."""

import errno
import math
import os
import re
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.parsl.blocks import LABEL, block_label

if TYPE_CHECKING:
    from parsl.config import Config

NOT_INSTALLED: Final = "Parsl is not installed: pip install 'parsl>=2025.1.13,<2026.11'"


POOL_VARIABLE: Final = "OACT_POOL"
"""Environment variable with the pool's name in each of its processes, by which leftovers are found."""

INTERCHANGE: Final = "oact_dagster.launchers.parsl.interchange"

LOOPBACK: Final = "127.0.0.1"

POLL_MS: Final = 200
"""Longest sleep of Parsl's threads, ms. Messages wake them at once; Parsl's default of 10 ms costs CPU time."""

FIRST_LOOK_S: Final = 0.5
"""Time to, and between, two looks of Parsl's scaling thread at a pool on this node, s."""

BLOCKS_LOOK_S: Final = 5.0
"""Longest time between two looks of that thread at a pool of blocks, s."""

IDLE_BLOCK_S: Final = 60.0
"""Time after which a block with idle workers is given back, s."""

DRAIN_MARGIN_S: Final = 120.0
"""Time that a block needs for its start and end, beside its calculations, s."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of nodes that Parsl requests from Slurm."""

    seconds: float
    """Time limit of a block, s."""
    job_limit_s: float
    """Longest time limit of a calculation, s. A block begins none that it might not finish."""
    init: int = 1
    least: int = 0
    most: int = 1
    nodes: int = 1
    """Nodes of each block."""
    queue: str | None = None
    qos: str | None = None
    allocation: str | None = None
    constraint: str | None = None
    extra_directives: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The options of a pool of workers."""

    workers: int
    """Workers on each node."""
    cores_per_worker: int
    cpu_affinity: str = "block"
    setup: Sequence[str] = ()
    """Lines of bash to run before the workers start."""
    heartbeat_period_s: int = 10
    heartbeat_threshold_s: int = 60
    nodes: int = 1
    """Nodes of this allocation, each with workers."""
    blocks: Blocks | None = None
    """None: workers run on this node, or in this allocation."""
    address: str | None = None
    """This host's address for workers on other nodes; None: they try all its addresses."""
    ports: tuple[int, int] = (54000, 55000)
    """First and last port for workers on other nodes; one of them is used."""
    look_s: float = 30.0
    """Time between two looks at the blocks of nodes, s."""

    @property
    def here(self) -> bool:
        """Whether all workers are on this node."""
        return self.blocks is None and self.nodes == 1

    @property
    def most_workers(self) -> int:
        """Largest number of workers on all nodes together."""
        nodes = self.nodes if self.blocks is None else self.blocks.most * self.blocks.nodes
        return self.workers * nodes


def require_parsl() -> None:
    """Raise a LauncherError if Parsl is not installed."""
    try:
        found = find_spec("parsl") is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise LauncherError(f"launcher.kind: parsl: {NOT_INSTALLED}")


def build_config(
    options: PoolOptions, run: str, folder: Path, on_blocks: Callable[[Any, Any], None] | None = None
) -> "Config":
    """Build Parsl's configuration.

    Args:
        options: the pool's options.
        run: the pool's name, which its processes and its blocks carry.
        folder: folder for Parsl's files. Parsl pastes its path into shell lines.
        on_blocks: called with the executor and the state of its blocks each time Parsl looks at them.

    Raises:
        LauncherError: Parsl cannot use the folder's path or a setting.
    """
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    if not re.fullmatch(r"[\w./+@%:,~-]+", str(folder)):
        raise LauncherError(
            f"{folder}: the path of Parsl's folder must not contain blanks or characters special to a shell; move the"
            " campaign (or TMPDIR, if the folder is there)"
        )
    blocks = options.blocks
    executor = HighThroughputExecutor(
        label=LABEL if blocks is None else block_label(run),
        provider=_local(options, run) if blocks is None else _slurm(options, blocks, run),
        launch_cmd=worker_command(),
        interchange_launch_cmd=[sys.executable, "-P", "-m", INTERCHANGE, str(os.getpid())],
        address=LOOPBACK if options.here else options.address,
        loopback_address=LOOPBACK,
        # Parsl excludes the last port.
        worker_port_range=(options.ports[0], options.ports[1] + 1),
        cores_per_worker=float(options.cores_per_worker),
        max_workers_per_node=options.workers,
        cpu_affinity=options.cpu_affinity,
        heartbeat_period=options.heartbeat_period_s,
        heartbeat_threshold=options.heartbeat_threshold_s,
        poll_period=POLL_MS,
        # Also on the loopback: anyone who reaches an interchange's port can make its workers run anything.
        encrypted=True,
        drain_period=None if blocks is None else _drain_s(blocks),
        # On this node the launcher looks itself, and starts a new pool.
        block_error_handler=on_blocks if on_blocks is not None and blocks is not None else False,
    )
    return Config(
        executors=[executor],
        run_dir=str(folder),
        # The ledger counts the attempts.
        retries=0,
        strategy="none" if blocks is None else "htex_auto_scale",
        # The first block is requested at the first look.
        strategy_period=max(FIRST_LOOK_S, 0.0 if blocks is None else min(BLOCKS_LOOK_S, options.look_s)),
        max_idletime=IDLE_BLOCK_S,
        initialize_logging=False,
        usage_tracking=0,
    )


def worker_command() -> str:
    """The template of the command that starts a node's workers, for Parsl to fill in.

    It runs a module, since the script may not be on PATH if Python was called by its path.
    """
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

    script, rest = DEFAULT_LAUNCH_CMD.split(" ", 1)
    python = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
    return f"{python} -m parsl.executors.high_throughput.{Path(script).stem} {rest}"


def _local(options: PoolOptions, run: str) -> Any:
    from parsl.launchers import SimpleLauncher, SrunLauncher, WrappedLauncher
    from parsl.providers import LocalProvider

    # The script restarts itself with the variable in its environment, where leftovers are looked for.
    again = f'[ -n "${POOL_VARIABLE}" ] || {POOL_VARIABLE}={run} exec bash "$0"'
    lines = [again, *_common_lines(options, run), *options.setup, *_guard()]
    launcher: Any = SimpleLauncher()
    if options.nodes > 1 and os.environ.get("SLURM_JOB_ID"):
        launcher = SrunLauncher(overrides=f"--nodes={options.nodes} --ntasks-per-node=1 --cpu-bind=none")
    elif options.nodes > 1:
        launcher = WrappedLauncher(prepend=f"flux run -N {options.nodes} -n {options.nodes} --exclusive")
    return LocalProvider(  # type: ignore[no-untyped-call]
        nodes_per_block=options.nodes,
        launcher=launcher,
        init_blocks=1,
        min_blocks=1,
        max_blocks=1,
        worker_init="\n".join(lines),
    )


def _slurm(options: PoolOptions, blocks: Blocks, run: str) -> Any:
    from parsl.launchers import SrunLauncher

    from oact_dagster.launchers.parsl.slurm_provider import BlockProvider

    whole_minutes = math.ceil(blocks.seconds / 60)
    return BlockProvider(
        run,
        options.look_s,
        partition=blocks.queue,
        account=blocks.allocation,
        qos=blocks.qos,
        constraint=blocks.constraint,
        nodes_per_block=blocks.nodes,
        cores_per_node=options.workers * options.cores_per_worker,
        init_blocks=blocks.init,
        min_blocks=blocks.least,
        max_blocks=blocks.most,
        walltime=f"{whole_minutes // 60:02d}:{whole_minutes % 60:02d}:00",
        scheduler_options="\n".join(f"#SBATCH {option}" for option in blocks.extra_directives),
        worker_init="\n".join([*_common_lines(options, run), *options.setup]),
        # A busy controller answers late, and Parsl would repeat a submit that timed out.
        cmd_timeout=60,
        exclusive=False,
        launcher=SrunLauncher(
            overrides=f"--ntasks-per-node=1 --cpus-per-task={options.workers * options.cores_per_worker}"
            " --cpu-bind=none"
        ),
    )


def _common_lines(options: PoolOptions, run: str) -> list[str]:
    return [
        f"export {POOL_VARIABLE}={run}",
        # Else Parsl's process titles overwrite what /proc shows of the environment.
        "export SPT_NOENV=1",
        # Else Parsl starts fewer workers if it counts fewer cores than they need; we have checked that already.
        f"export PARSL_CORES={options.workers * options.cores_per_worker}",
    ]


def _guard() -> list[str]:
    """Lines of bash that kill a pool's whole process group once the batch, or the pool itself, has died.

    Parsl itself waits for missing heartbeats, which takes minutes, and leaves the helpers of a killed pool behind.
    """
    return [
        f"( while kill -0 {os.getpid()} && kill -0 $$; do sleep 1 || exit; done; kill -KILL 0 ) >/dev/null 2>&1 &",
        f"echo pool on {shlex.quote(socket.gethostname())}",
    ]


def _drain_s(blocks: Blocks) -> int:
    seconds = int(blocks.seconds - blocks.job_limit_s - DRAIN_MARGIN_S)
    if seconds < 1:
        raise LauncherError(
            f"launcher.block_hours {blocks.seconds / 3600:g} is too short for calculations of up to"
            f" {blocks.job_limit_s / 3600:g} h: a block needs {DRAIN_MARGIN_S:g} s more than its longest calculation"
        )
    return seconds


def ports_refused(address: str | None, ports: tuple[int, int]) -> str:
    """Why Parsl cannot listen at any of these ports, in one line; empty if it can.

    Parsl itself would say only after two minutes that it does not start, and not why.

    Args:
        address: address of this host; None: all its addresses.
        ports: first and last port.
    """
    six = address is not None and ip_address(address).version == 6
    for port in range(ports[0], ports[1] + 1):
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address or "", port))
                listener.listen()
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    wrong = "is not an address of this host: `ip address` lists its addresses"
                    return f"launcher.address {address} {wrong}"
            else:
                return ""
    return (
        f"launcher.worker_ports [{ports[0]}, {ports[1]}]: Parsl cannot listen on any of these ports of this host; set"
        " others, or a wider range"
    )
