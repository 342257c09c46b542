"""The section ``launcher``: how calculations run."""

import math
import re
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from oact_dagster.settings.base import Hours, Megabytes, Seconds, Settings, Whole
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS, PILOTS, LauncherKind

FIRST_PORT: Final = 1024
"""Lower ports are reserved for root."""
LAST_PORT: Final = 65535


class SizedResources(Settings):
    """Cores and time limit for structures up to a size, instead of the campaign's."""

    max_atoms: Whole = Field(ge=1, description="structures with at most this many atoms")
    n_cores: Whole | None = Field(default=None, ge=1, description="cores; null: the campaign's")
    n_hours: Hours | None = Field(default=None, gt=0, description="time limit, h; null: the campaign's")


class LauncherSettings(Settings):
    """How calculations run: as processes on this machine, in Parsl's workers, or as jobs of a scheduler.

    The settings of all kinds are side by side, so changing ``kind`` moves a campaign.
    """

    profile: str | None = Field(
        default=None,
        description="a site's profile in ~/.config/oact/profiles.yaml; what campaign.yaml says wins; null: none",
    )
    kind: str = Field(
        default="local",
        description="how calculations run; "
        + "; ".join(f"{kind.name}: {kind.about}" for kind in LAUNCHER_KINDS.values()),
    )
    job_timeout_s: Seconds = Field(default=7200.0, gt=0, description="time limit of one calculation, s")
    n_hours: Hours | None = Field(
        default=None,
        gt=0,
        description="time limit of a job, h, instead of job_timeout_s; with per_job, that of a pilot; null:"
        " job_timeout_s",
    )
    max_job_timeout_s: Seconds | None = Field(
        default=None,
        gt=0,
        description="longest time limit that a retry may get, such as the queue's, s; null: no limit",
    )
    memory_mb: Whole | None = Field(
        default=None,
        ge=100,
        description="most memory of one calculation with all its processes, such as the node's, MB; null: no limit",
    )
    stop_grace_s: Seconds = Field(
        default=10.0, ge=0, description="time that running calculations get to end when a run is stopped, s"
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="environment variables of each calculation, such as {LD_LIBRARY_PATH: /opt/openmpi/lib}",
    )
    resources: tuple[SizedResources, ...] = Field(
        default=(),
        description="cores and time limit by size, the smallest max_atoms first, such as"
        " [{max_atoms: 30, n_cores: 4, n_hours: 2}]",
    )
    scratch_dir: str | None = Field(
        default=None,
        description="folder on the node to run calculations in, such as $TMPDIR; null: they run in their job folders",
    )
    scratch_save_mb: Megabytes = Field(
        default=4000.0, ge=0, description="most data copied back from scratch_dir into the job folder, MB"
    )
    progress_interval_s: Seconds | None = Field(
        default=60.0,
        ge=60.0,
        description="time between two log lines of a running calculation, s; null: none",
    )
    silence_limit_s: Seconds = Field(
        default=21600.0,
        gt=0,
        description="a running calculation whose output has not changed for this long is ended as timed out, s",
    )

    # For kinds local and parsl, and for pilots.
    max_workers: Whole = Field(
        default=1, ge=1, description="calculations at once on this machine; with Parsl, on each node"
    )

    # For Parsl's workers.
    cores_per_worker: Whole | None = Field(
        default=None, ge=1, description="cores of each calculation; null: orca.n_cores"
    )
    cpu_affinity: Literal["block", "block-reverse", "alternating", "none"] = Field(
        default="block",
        description="which cores each worker keeps to: block, block-reverse, alternating or none",
    )
    oversubscribe: bool = Field(
        default=False, description="let the workers use more cores in total than the node has"
    )
    worker_init: tuple[str, ...] = Field(
        default=(), description="lines of bash that run before the workers start, after setup_lines"
    )
    heartbeat_period_s: Whole = Field(
        default=10, ge=1, description="time between two signs of life of a worker, s"
    )
    heartbeat_threshold_s: Whole = Field(
        default=60, ge=2, description="workers that are silent for this long count as lost, s"
    )
    allocation_end: datetime | None = Field(
        default=None,
        description="when the allocation ends, such as 2030-01-31T18:00:00; null: when Slurm or Flux says",
    )
    provider: Literal["local", "slurm"] = Field(
        default="local",
        description="where the workers run; local: on this node or in this allocation; slurm: in blocks of nodes that"
        " Parsl requests from Slurm",
    )
    block_hours: Hours | None = Field(
        default=None, gt=0, description="time limit of a block, h; required with provider slurm"
    )
    init_blocks: Whole = Field(default=1, ge=0, description="blocks to request at the start")
    min_blocks: Whole = Field(default=0, ge=0, description="blocks to keep even when there is little to do")
    max_blocks: Whole = Field(default=1, ge=1, description="most blocks at a time")
    nodes_per_block: Whole = Field(default=1, ge=1, description="nodes in each block")
    address: str | None = Field(
        default=None,
        description="IP address of this host that workers on other nodes can reach, such as 10.0.0.1; null: they try"
        " all its addresses",
    )
    worker_ports: tuple[Whole, Whole] = Field(
        default=(54000, 55000),
        description="first and last port of this host that is open to workers on other nodes; a run takes one or two",
    )

    # For pilots.
    per_job: Literal["parsl"] | None = Field(
        default=None,
        description="parsl: each job is a pilot that runs many structures through Parsl, max_workers at once; null: one"
        " job for each structure",
    )
    jobs: Whole = Field(default=1, ge=1, description="pilots at once, waiting and running")
    idle_s: Seconds = Field(
        default=60.0, ge=0, description="how long a pilot with nothing left to run waits for more, s"
    )

    # For a scheduler's jobs.
    queue: str | None = Field(
        default=None, description="queue (Flux) or partition (Slurm); null: the scheduler's own"
    )
    qos: str | None = Field(default=None, description="quality of service (Slurm); null: the scheduler's own")
    allocation: str | None = Field(
        default=None, description="bank (Flux) or account (Slurm); null: the scheduler's own"
    )
    mem: Whole | Literal["auto", "none"] = Field(
        default="auto",
        description="memory of a job (Slurm), MB, or more where its input needs more; auto: what its input needs; none:"
        " what the queue gives",
    )
    constraint: str | None = Field(default=None, description="features that a node must have; null: any node")
    extra_directives: tuple[str, ...] = Field(
        default=(), description='more options of sbatch or flux submit, such as ["--exclusive"]'
    )
    modules: tuple[str, ...] = Field(
        default=(), description="environment modules that each job loads, such as [openmpi/4.1.8]"
    )
    conda_env: str | None = Field(
        default=None, description="conda environment that each job activates; null: none"
    )
    conda_base: str | None = Field(
        default=None, description="folder where conda is installed; null: conda on the job's PATH"
    )
    setup_lines: tuple[str, ...] = Field(default=(), description="lines of bash that each job runs first")
    poll_interval_s: Seconds = Field(default=30.0, gt=0, description="time between two looks at the queue, s")
    command_timeout_s: Seconds = Field(
        default=60.0, gt=0, description="time limit of each command of the scheduler, s"
    )
    grace_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="a job that is missing from the queue for this long counts as lost, s",
    )
    max_array_size: Whole | None = Field(
        default=None, ge=1, description="most jobs in one submit; null: what the scheduler allows"
    )
    signal_before_limit_s: Seconds = Field(
        default=120.0,
        ge=0,
        description="how long before its job's time limit a calculation is ended, s; at most a quarter of the limit",
    )

    @model_validator(mode="before")
    @classmethod
    def _hours_are_seconds(cls, values: Any) -> Any:
        hours = values.get("n_hours") if isinstance(values, dict) else None
        if isinstance(values, dict) and values.get("per_job") is not None:
            return values  # the time limit of a pilot, which runs many calculations
        if isinstance(hours, (int, float)) and not isinstance(hours, bool):
            return {**values, "job_timeout_s": hours * 3600.0}
        return values

    @field_validator("kind", mode="before")
    @classmethod
    def _kind_is_known(cls, value: Any) -> Any:
        if not isinstance(value, str) or value not in LAUNCHER_KINDS:
            *first, last = map(repr, LAUNCHER_KINDS)
            raise ValueError(f"input should be {', '.join(first)} or {last}")
        return value

    @field_validator("mem", mode="before")
    @classmethod
    def _memory_is_said(cls, value: Any) -> Any:
        if value in ("auto", "none") or (
            isinstance(value, int) and not isinstance(value, bool) and value >= 1
        ):
            return value
        raise ValueError("must be auto, none, or a number of MB")

    @field_validator("queue", "qos", "allocation", "constraint", "conda_env", "conda_base", "scratch_dir")
    @classmethod
    def _is_one_line(cls, value: str | None) -> str | None:
        return None if value is None else _one_line(value)

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            address = ip_address(value)
        except ValueError:
            address = None
        if address is None or address.is_unspecified or address.is_multicast:
            raise ValueError("must be an IP address, such as 10.0.0.1")
        return str(address)

    @field_validator("worker_ports", mode="before")
    @classmethod
    def _are_two_ports(cls, value: Any) -> Any:
        ports = value if isinstance(value, (list, tuple)) else []
        whole = [one for one in ports if isinstance(one, int) and not isinstance(one, bool)]
        if len(ports) != 2 or len(whole) != 2 or not FIRST_PORT <= whole[0] < whole[1] <= LAST_PORT:
            raise ValueError(
                f"must be two ports, the first below the last, from {FIRST_PORT} to {LAST_PORT}, such as [54000, 55000]"
            )
        return value

    @field_validator("scratch_dir")
    @classmethod
    def _scratch_is_absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("/", "$")):
            raise ValueError("must be an absolute path on the node, or begin with a variable such as $TMPDIR")
        if "$" in re.sub(r"\$(\w+|\{\w+\})", "", value or ""):
            raise ValueError("may contain variables, such as $TMPDIR or ${USER}, but no other $")
        return value

    @field_validator("extra_directives", "modules", "setup_lines", "worker_init")
    @classmethod
    def _are_lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_one_line, value))

    @field_validator("extra_directives")
    @classmethod
    def _directives_are_options(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for option in value:
            if not option.startswith("-"):
                raise ValueError(
                    f"{option!r} is not an option; write each as one text, such as --exclusive or --gres=gpu:1"
                )
        return value

    @field_validator("resources")
    @classmethod
    def _sizes_grow(cls, value: tuple[SizedResources, ...]) -> tuple[SizedResources, ...]:
        sizes = [one.max_atoms for one in value]
        if sizes != sorted(set(sizes)):
            raise ValueError(f"max_atoms must increase in each entry (given: {', '.join(map(str, sizes))})")
        return value

    @model_validator(mode="after")
    def _limits_fit(self) -> "LauncherSettings":
        longest = self.max_job_timeout_s
        if longest is not None and longest < self.job_timeout_s:
            raise ValueError(f"max_job_timeout_s {longest:g} is below job_timeout_s {self.job_timeout_s:g}")
        if self.heartbeat_threshold_s <= self.heartbeat_period_s:
            raise ValueError(
                f"heartbeat_threshold_s {self.heartbeat_threshold_s} must be above heartbeat_period_s"
                f" {self.heartbeat_period_s}"
            )
        if self.in_blocks and self.block_hours is None:
            raise ValueError("block_hours is missing; provider slurm needs the time limit of a block")
        self._check_pilots()
        if self.min_blocks > self.max_blocks or self.init_blocks > self.max_blocks:
            raise ValueError(
                f"max_blocks {self.max_blocks} is below init_blocks {self.init_blocks} or min_blocks {self.min_blocks}"
            )
        for one in self.resources:
            if longest is not None and one.n_hours is not None and one.n_hours * 3600.0 > longest:
                raise ValueError(
                    f"max_job_timeout_s {longest:g} is below the n_hours {one.n_hours:g} of resources up to"
                    f" {one.max_atoms} atoms"
                )
        return self

    def _check_pilots(self) -> None:
        if self.per_job is None:
            return
        if not self.kind_facts.can_be_pilots:
            able = " and ".join(kind.name for kind in LAUNCHER_KINDS.values() if kind.can_be_pilots)
            raise ValueError(f"per_job: {self.per_job} is for kind {able} (given: {self.kind})")
        if self.n_hours is None:
            raise ValueError("n_hours is missing; with per_job it is the time limit of a pilot, such as 12")
        longest = max(
            self.job_timeout_s,
            *(one.n_hours * 3600.0 for one in self.resources if one.n_hours is not None),
            0.0,
        )
        if longest > self.pilot_s - self.pilot_margin_s:
            raise ValueError(
                f"n_hours {self.n_hours:g} of a pilot is too short for calculations of up to {longest:g} s"
                f" (job_timeout_s, or n_hours of resources) plus {self.pilot_margin_s:g} s at its end"
                " (signal_before_limit_s)"
            )

    @property
    def kind_facts(self) -> LauncherKind:
        """The capabilities of the launcher's kind, whatever the other settings are."""
        return LAUNCHER_KINDS[self.kind]

    @property
    def recorded_kind(self) -> str:
        """The launcher's name in the ledger."""
        return f"{self.kind}{PILOTS}" if self.pilots else self.kind

    @property
    def pilots(self) -> bool:
        """Whether a scheduler's jobs run many structures each."""
        return self.per_job is not None

    @property
    def pilot_s(self) -> float:
        """Time limit of a pilot's job, s."""
        return (self.n_hours or 0.0) * 3600.0

    @property
    def pilot_margin_s(self) -> float:
        """Time between the end of a pilot's calculations and its job's limit, s."""
        return signal_margin_s(self.signal_before_limit_s, self.pilot_s)

    @property
    def longest_job_s(self) -> float | None:
        """The longest time limit that a retry may get, s; None if unlimited."""
        limits = [self.max_job_timeout_s] if self.max_job_timeout_s is not None else []
        limits += [self.pilot_s - self.pilot_margin_s] if self.pilots else []
        return min(limits, default=None)

    @property
    def on_this_machine(self) -> bool:
        """Whether calculations run on the machine of the run, so that all runs share its cores."""
        return self.kind_facts.on_this_machine or (self.kind_facts.uses_workers and not self.in_blocks)

    @property
    def in_blocks(self) -> bool:
        """Whether calculations run in workers on blocks of nodes that Parsl requests from a scheduler."""
        return self.kind_facts.uses_workers and self.provider != "local"

    @property
    def in_workers(self) -> bool:
        """Whether calculations run in Parsl's workers."""
        return self.kind_facts.uses_workers or self.pilots

    def resources_of(self, natoms: int) -> SizedResources | None:
        """The entry of ``resources`` for a structure of this size, if any."""
        return next((one for one in self.resources if natoms <= one.max_atoms), None)

    def time_limit_of(self, natoms: int) -> float:
        """Time limit of a first attempt's job, s."""
        sized = self.resources_of(natoms)
        return self.job_timeout_s if sized is None or sized.n_hours is None else sized.n_hours * 3600.0

    def memory_request_mb(self, maxcore: int | None, n_cores: int) -> int | None:
        """The memory to request for a job, MB; None leaves it to the scheduler.

        Args:
            maxcore: the input's memory for each process, MB.
            n_cores: the number of processes.
        """
        if self.mem == "none" or not self.kind_facts.reserves_memory:
            return None
        # ORCA exceeds MaxCore at times, and its processes need memory that MaxCore does not cover.
        needed = None if maxcore is None else math.ceil(1.15 * maxcore * n_cores) + 500
        if isinstance(self.mem, int):
            needed = max(self.mem, needed or 0)
        return needed if needed is None or self.memory_mb is None else min(needed, self.memory_mb)

    def margin_s(self, time_limit_s: float) -> float:
        """How long before its job's time limit a calculation is ended, s; at most a quarter of the limit."""
        if self.in_workers or self.on_this_machine:
            return 0.0
        return signal_margin_s(self.signal_before_limit_s, time_limit_s)

    @property
    def worker_affinity(self) -> str:
        """The cores that Parsl's workers keep to; oversubscribed workers have none of their own."""
        return "none" if self.oversubscribe else self.cpu_affinity

    @property
    def workers_are_bound(self) -> bool:
        """Whether each calculation has cores of its own."""
        return self.in_workers and self.worker_affinity != "none"


def _one_line(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; leave it out, or write null")
    if any(character in value for character in "\n\r\0"):
        raise ValueError("must be one line")
    return value


def signal_margin_s(signal_before_limit_s: float, time_limit_s: float) -> float:
    """Time between the signal to a job and the job's limit, s: at most a quarter of the limit."""
    return min(signal_before_limit_s, time_limit_s / 4)
