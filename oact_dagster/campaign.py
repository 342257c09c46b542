"""The settings of a campaign, read from ``campaign.yaml`` and checked.

A campaign is one CSV, one ledger, one jobs folder and one level of theory. Every key is checked; a wrong
one gives a :class:`CampaignError` whose text is one line that names the key and what is allowed.
"""

import difflib
import hashlib
import json
import math
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from oact_dagster.orca.basis import is_file
from oact_dagster.orca.canonical_level import canonical_level
from oact_dagster.orca.input_settings import InputSettings
from oact_dagster.orca.remedies import Ladders, check_ladders
from oact_dagster.orca.templates import DEFAULT_MAXITER, TEMPLATES
from oact_dagster.profiles import ORCA_COMMAND, Profile, ProfileError, find_profile
from oact_dagster.settings_text import read_settings

CAMPAIGN_FILE = "campaign.yaml"
"""The name of a campaign's settings file in its folder."""

STANDIN = "standin"
"""The value of ``orca.command`` that selects the stand-in engine instead of a real ORCA."""


LONGEST_FOLDER_NAME = 180
"""Bytes: file systems allow 255, and the names of earlier attempts' folders are longer."""

# How far an optimisation goes; not where to.
_GEOMETRY_CYCLES = re.compile(r"\s*%geom\s+maxiter\s+\d+\s+end\s*", re.IGNORECASE)

# YAML's true is no number of cores.
Whole = Annotated[int, Field(strict=True)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Megabytes = Annotated[float, Field(allow_inf_nan=False)]
Hours = Annotated[float, Field(allow_inf_nan=False)]


_SQLITE_MAGIC = b"SQLite format 3"


class CampaignError(ValueError):
    """A campaign's settings are missing or wrong; the text is one line that says what, where and what is right."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrcaSettings(_Settings):
    """What ORCA computes, and which ORCA."""

    command: str = Field(
        description="absolute path of the orca program (or a name on PATH), or 'standin' for the stand-in engine"
    )
    functional: str = "wB97M-V"
    simple_input: Literal["omol", "x2c", "dk3"] = "omol"
    actinide_basis: str | None = None
    actinide_ecp: str | None = None
    non_actinide_basis: str = "def2-TZVPD"
    scf_maxiter: Whole | None = Field(default=None, ge=1)
    nbo: bool = False
    mbis: bool = False
    kdiis: bool = False
    opt: bool = False
    uks_singlet: bool = False
    n_cores: Whole = Field(default=4, ge=1, description="cores of one calculation (%pal nprocs)")
    maxcore: Whole | None = Field(default=None, ge=100, description="MB for each process; null estimates it")
    extra_lines: tuple[str, ...] = ()

    @field_validator("command")
    @classmethod
    def _command_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give the absolute path of orca, or standin")
        return value


class SizedResources(_Settings):
    """What structures up to a size get in place of the campaign's resources."""

    max_atoms: Whole = Field(ge=1, description="structures with at most so many atoms")
    n_cores: Whole | None = Field(default=None, ge=1, description="cores; null: the campaign's")
    n_hours: Hours | None = Field(default=None, gt=0, description="time limit, h; null: the campaign's")


class LauncherSettings(_Settings):
    """How attempts are run: as processes of this machine (``local``), by Parsl, or as jobs of a scheduler.

    The settings of all kinds stand side by side, so that changing ``kind`` is all that it takes to move a campaign.
    """

    profile: str | None = Field(
        default=None, description="name of a site's settings in the profiles file; null: none"
    )
    kind: Literal["local", "parsl", "slurm", "flux"] = "local"
    max_workers: Whole = Field(
        default=1, ge=1, description="local, parsl: calculations at once (on each node)"
    )
    job_timeout_s: Seconds = Field(default=7200.0, gt=0, description="time limit of one calculation, s")
    n_hours: Hours | None = Field(
        default=None,
        gt=0,
        description="the same in hours, in place of job_timeout_s; null: job_timeout_s holds",
    )
    max_job_timeout_s: Seconds | None = Field(
        default=None,
        gt=0,
        description="longest time limit that a retry may get (the queue's), s; null: no limit",
    )
    memory_mb: Whole | None = Field(
        default=None,
        ge=100,
        description="memory that one calculation may use with all its processes (the node's), MB; null: no limit",
    )
    stop_grace_s: Seconds = Field(
        default=10.0, ge=0, description="time that running calculations get to end when the run is stopped, s"
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="variables added to each calculation's environment"
    )
    resources: tuple[SizedResources, ...] = Field(
        default=(), description="cores and time limit by size, the smallest max_atoms first"
    )

    # Of Parsl's workers.
    cores_per_worker: Whole | None = Field(
        default=None, ge=1, description="cores of each calculation, in place of orca.n_cores; null: those"
    )
    cpu_affinity: Literal["block", "block-reverse", "alternating", "none"] = Field(
        default="block", description="which cores of the node each worker keeps to"
    )
    oversubscribe: bool = Field(
        default=False, description="let the workers have more cores in all than the node offers"
    )
    worker_init: tuple[str, ...] = Field(
        default=(), description="lines of bash that run before the workers start, after setup_lines"
    )
    heartbeat_period_s: Whole = Field(
        default=10, ge=1, description="how often workers are looked for and give a sign of life, s"
    )
    heartbeat_threshold_s: Whole = Field(
        default=60, ge=2, description="how long workers may be silent before they count as lost, s"
    )
    allocation_end: datetime | None = Field(
        default=None,
        description="when the allocation ends, such as 2030-01-31T18:00:00; null: as Slurm or Flux say",
    )
    provider: Literal["local", "slurm"] = Field(
        default="local",
        description="where the workers are: in this allocation or on this node, or in blocks of nodes that Parsl asks"
        " Slurm for",
    )
    init_blocks: Whole = Field(default=1, ge=0, description="blocks that are asked for at the start")
    min_blocks: Whole = Field(
        default=0, ge=0, description="blocks that are kept also when there is little to do"
    )
    max_blocks: Whole = Field(default=1, ge=1, description="most blocks at a time")
    nodes_per_block: Whole = Field(default=1, ge=1, description="nodes of a block")
    block_hours: Hours | None = Field(
        default=None, gt=0, description="time limit of a block, h; needed with provider slurm"
    )

    # Of pilots.
    per_job: Literal["parsl"] | None = Field(
        default=None,
        description="slurm, flux: parsl makes each job a pilot that runs many structures, max_workers at once, through"
        " Parsl; null: a job for each structure",
    )
    jobs: Whole = Field(default=1, ge=1, description="pilots at once, in the queue and running")
    idle_s: Seconds = Field(
        default=60.0, ge=0, description="how long a pilot waits for more when nothing is left to run, s"
    )

    # Of schedulers' jobs.
    queue: str | None = Field(
        default=None, description="partition (Slurm) or queue (Flux); null: the default one"
    )
    qos: str | None = Field(default=None, description="Slurm: quality of service; null: the default one")
    allocation: str | None = Field(
        default=None, description="account (Slurm) or bank (Flux); null: the default"
    )
    mem: Whole | Literal["auto", "none"] = Field(
        default="auto",
        description="Slurm: memory of a job, MB, or more where its input needs more; auto: what its input needs; none:"
        " what the queue gives",
    )
    constraint: str | None = Field(default=None, description="features that a node must have")
    extra_directives: tuple[str, ...] = Field(
        default=(), description='more options of sbatch or flux submit, such as ["--exclusive"]'
    )
    modules: tuple[str, ...] = Field(default=(), description="environment modules that a job loads")
    conda_env: str | None = Field(default=None, description="conda environment that a job activates")
    conda_base: str | None = Field(
        default=None, description="folder where conda is installed; null: the one on the job's PATH"
    )
    setup_lines: tuple[str, ...] = Field(default=(), description="lines of bash that a job runs first")
    scratch_dir: str | None = Field(
        default=None,
        description="folder on the node in which calculations run, such as $TMPDIR or /scratch; null: they run in their"
        " job folders",
    )
    scratch_save_mb: Megabytes = Field(
        default=4000.0,
        ge=0,
        description="how much of what a calculation leaves in scratch_dir comes back into its job folder, MB",
    )
    progress_interval_s: Seconds | None = Field(
        default=60.0,
        ge=60.0,
        description="time between two lines in the run's log about a running calculation, s; null: none",
    )
    poll_interval_s: Seconds = Field(default=30.0, gt=0, description="time between two looks at the queue, s")
    command_timeout_s: Seconds = Field(
        default=60.0, gt=0, description="time limit of each call of a scheduler's command, s"
    )
    silence_limit_s: Seconds = Field(
        default=21600.0,
        gt=0,
        description="a running calculation whose output has not changed for so long is ended as timed out, s",
    )
    grace_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="how long a job may be missing from the queue before it counts as lost, s",
    )
    max_array_size: Whole | None = Field(
        default=None,
        ge=1,
        description="most jobs that are submitted in one call; null: what the scheduler allows",
    )
    signal_before_limit_s: Seconds = Field(
        default=120.0, ge=0, description="how long before a job's time limit its calculation is ended, s"
    )

    @model_validator(mode="before")
    @classmethod
    def _hours_are_seconds(cls, values: Any) -> Any:
        hours = values.get("n_hours") if isinstance(values, dict) else None
        if isinstance(values, dict) and values.get("per_job") is not None:
            return values  # there they are those of a pilot, which runs many calculations
        if isinstance(hours, (int, float)) and not isinstance(hours, bool):
            return {**values, "job_timeout_s": hours * 3600.0}
        return values

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
        return None if value is None else _one_word_or_line(value)

    @field_validator("scratch_dir")
    @classmethod
    def _scratch_is_absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("/", "$")):
            raise ValueError("must be an absolute path on the node, or begin with a variable such as $TMPDIR")
        if "$" in re.sub(r"\$(\w+|\{\w+\})", "", value or ""):
            raise ValueError("may hold variables, such as $TMPDIR or ${USER}, and no other $")
        return value

    @field_validator("extra_directives", "modules", "setup_lines", "worker_init")
    @classmethod
    def _are_lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_one_word_or_line, value))

    @field_validator("extra_directives")
    @classmethod
    def _directives_are_options(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for option in value:
            if not option.startswith("-"):
                raise ValueError(
                    f"{option!r} is no option; write each as one text, such as --exclusive or --gres=gpu:1"
                )
        return value

    @field_validator("resources")
    @classmethod
    def _sizes_grow(cls, value: tuple[SizedResources, ...]) -> tuple[SizedResources, ...]:
        sizes = [one.max_atoms for one in value]
        if sizes != sorted(set(sizes)):
            raise ValueError(
                f"max_atoms must grow from one to the next (given: {', '.join(map(str, sizes))})"
            )
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
        if self.kind == "parsl" and self.provider == "slurm" and self.block_hours is None:
            raise ValueError(
                "block_hours is missing; provider slurm needs the time limit of a block of nodes"
            )
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
        if self.kind not in ("slurm", "flux"):
            raise ValueError(f"per_job: {self.per_job} is for kind slurm and flux (given: {self.kind})")
        if self.n_hours is None:
            raise ValueError(
                "n_hours is missing; with per_job it is the time limit of each pilot, such as 12"
            )
        longest = max(
            self.job_timeout_s,
            *(one.n_hours * 3600.0 for one in self.resources if one.n_hours is not None),
            0.0,
        )
        if longest > self.pilot_s - self.pilot_margin_s:
            raise ValueError(
                f"n_hours {self.n_hours:g} of a pilot is too short for calculations of up to {longest:g} s, and"
                f" {self.pilot_margin_s:g} s at its end (signal_before_limit_s)"
            )

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
        """A pilot's calculations have ended so long before its job's limit, s."""
        return min(self.signal_before_limit_s, self.pilot_s / 4)

    @property
    def longest_job_s(self) -> float | None:
        """The longest time limit that a retry may get, s; None: there is none."""
        limits = [self.max_job_timeout_s] if self.max_job_timeout_s is not None else []
        limits += [self.pilot_s - self.pilot_margin_s] if self.pilots else []
        return min(limits, default=None)

    @property
    def in_workers(self) -> bool:
        """Whether calculations run in workers of Parsl's."""
        return self.kind == "parsl" or self.pilots

    def resources_of(self, natoms: int) -> SizedResources | None:
        """What ``resources`` say of a structure of this size; None where they say nothing."""
        return next((one for one in self.resources if natoms <= one.max_atoms), None)

    def time_limit_of(self, natoms: int) -> float:
        """Time limit of a first attempt's job, s."""
        sized = self.resources_of(natoms)
        return self.job_timeout_s if sized is None or sized.n_hours is None else sized.n_hours * 3600.0

    def memory_request_mb(self, maxcore: int | None, n_cores: int) -> int | None:
        """What to ask for, MB; None leaves it to the scheduler.

        Args:
            maxcore: of the input, MB for each process.
            n_cores: its processes.
        """
        if self.mem == "none":
            return None
        # ORCA goes over MaxCore now and then, and its processes need memory that it does not count.
        needed = None if maxcore is None else math.ceil(1.15 * maxcore * n_cores) + 500
        if isinstance(self.mem, int):
            needed = max(self.mem, needed or 0)
        return needed if needed is None or self.memory_mb is None else min(needed, self.memory_mb)

    def margin_s(self, time_limit_s: float) -> float:
        """How long before its job's time limit a calculation is ended, s: at most a quarter of it."""
        if self.in_workers or self.kind == "local":
            return 0.0
        return min(self.signal_before_limit_s, time_limit_s / 4)

    @property
    def worker_affinity(self) -> str:
        """Which cores Parsl's workers keep to; where there are fewer than they want, none has its own."""
        return "none" if self.oversubscribe else self.cpu_affinity

    @property
    def workers_are_bound(self) -> bool:
        """Whether a calculation finds itself on cores of its own."""
        return self.in_workers and self.worker_affinity != "none"


def _one_word_or_line(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; leave it out, or write null")
    if any(character in value for character in "\n\r\0"):
        raise ValueError("must be one line")
    return value


class RetrySettings(_Settings):
    """The budgets of a structure; the ledger counts them."""

    max_failures: Whole = Field(default=3, ge=1, description="failed and timed-out attempts in all")
    max_losses: Whole = Field(default=5, ge=1, description="lost attempts (killed, node died) in all")
    delay_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="time before a first retry that nobody asked for, s; it doubles each time",
    )
    # 7 days: the queue takes a later time for one that was set by a clock since set back.
    longest_delay_s: Seconds = Field(
        default=21600.0, ge=0, le=604800, description="that time at most, s; up to 7 days"
    )

    def delay_after(self, attempts: int) -> float:
        """How long a structure rests after so many attempts that failed or were lost, s."""
        return min(self.longest_delay_s, self.delay_s * 2.0 ** min(max(0, attempts - 1), 60))


class FeedSettings(_Settings):
    """How a campaign feeds itself, and when it stops doing so."""

    order: Literal["given", "cheap_first", "dear_first"] = Field(
        default="given", description="in which order structures of one priority are run"
    )
    priority_column: str | None = Field(
        default=None,
        description="column of the CSV with a number for each structure; the largest is run first",
    )
    trial: Whole = Field(
        default=20, ge=0, description="structures that are tried before the others are begun; 0: no trial"
    )
    pause_at_failure_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=0.5, description="pause when a larger share of the trial, or of the last attempts, has failed"
    )
    window: Whole = Field(default=50, ge=5, description="how many of the last attempts are looked at")
    core_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="budget of all attempts; when it is spent nothing more is begun; null: no budget",
    )
    interval_s: Whole = Field(
        default=60,
        ge=5,
        description="time between two ticks of a sensor, s; of timeouts and harvest five times that",
    )
    bad_host_after: Whole = Field(
        default=3,
        ge=1,
        description="a host on which so many different structures were lost or crashed, and fewer completed, is left"
        " out",
    )


class NotifySettings(_Settings):
    """Who is told when a campaign pauses, has spent its budget, or is done."""

    command: tuple[str, ...] = Field(
        default=(),
        description='a program with arguments that gets the text on stdin: ["mail", "-s", "ORCA", "me"]',
    )
    webhook: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="address to which the text is posted as JSON, such as https://example.org/hook",
    )

    @property
    def ways(self) -> int:
        """How many ways of telling are set."""
        return bool(self.command) + (self.webhook is not None)


class Campaign(_Settings):
    """All settings of a campaign. Paths are absolute after loading."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_]+$", max_length=60, description="a name of letters, digits and _, such as demo"
    )
    csv: Path | None = Field(
        description="the path of the CSV; null for a campaign whose structures are in the ledger already"
    )
    geometry_column: str = "aligned_csd_core"
    charge_column: str | None = "charge"
    spin_column: str | None = "uhf"
    annotate: tuple[str, ...] = ()
    ledger: Path = Path("workflow.db")
    jobs_dir: Path = Path("jobs")
    job_dir_pattern: str = "job_{orig_index}"
    asset_prefix: tuple[str, ...] = ()
    batch_size: Whole = Field(default=500, ge=1, description="structures claimed at once")
    max_in_flight: Whole = Field(
        default=5000, ge=1, description="structures of a run that are claimed at a time"
    )
    orca: OrcaSettings
    launcher: LauncherSettings = LauncherSettings()
    retry: RetrySettings = RetrySettings()
    feed: FeedSettings = FeedSettings()
    notify: NotifySettings = NotifySettings()
    remedies: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="for a failure class the steps that its next attempts take, in their order",
        examples=["{aborted: [again], timeout: [longer_limit]}"],
    )
    setup_func: str | None = Field(
        default=None,
        description="module:function, called with each new job folder and its structure's record",
    )
    keep: tuple[Literal["out", "engrad", "gbw"], ...] = Field(
        default=("out", "engrad", "gbw"),
        description="what stays in the folder of a completed structure beside its input and small files",
    )

    _file: Path = PrivateAttr(default=Path(CAMPAIGN_FILE))
    _orca_said: str = PrivateAttr(default=f"{CAMPAIGN_FILE}: orca.command")

    @field_validator("job_dir_pattern")
    @classmethod
    def _pattern_stays_inside(cls, value: str) -> str:
        fields = re.findall(r"\{([^{}]*)\}", value)
        rest = re.sub(r"\{(orig_index|id)\}", "0", value)
        if not fields or not set(fields) <= {"orig_index", "id"} or "{" in rest or "}" in rest:
            raise ValueError(
                "must hold {orig_index} or {id}, and no other braces; for example job_{orig_index}"
            )
        parts = Path(rest).parts
        if not value.isprintable():
            raise ValueError("must hold no newlines and control characters; for example job_{orig_index}")
        if Path(rest).is_absolute() or ".." in parts:
            raise ValueError("must stay inside jobs_dir; for example job_{orig_index}")
        if any(part.startswith(".") for part in parts):
            raise ValueError(
                "must name no hidden folder (one that begins with a dot); for example job_{orig_index}"
            )
        if any(len(part.encode()) > LONGEST_FOLDER_NAME for part in parts):
            raise ValueError(
                f"must name folders of at most {LONGEST_FOLDER_NAME} bytes; for example job_{{orig_index}}"
            )
        return value

    @field_validator("asset_prefix")
    @classmethod
    def _prefix_is_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z0-9_]+", part) for part in value):
            raise ValueError(
                "must be a list of names of letters, digits and _; for example [project, batch1]"
            )
        return value

    @field_validator("remedies")
    @classmethod
    def _ladders_are_known(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        check_ladders(value)
        return value

    @field_validator("setup_func")
    @classmethod
    def _setup_is_a_function(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
            raise ValueError("must be module:function; for example my_setup:add_files")
        return value

    @field_validator("csv", "ledger", "jobs_dir", mode="before")
    @classmethod
    def _path_is_named(cls, value: object) -> object:
        if isinstance(value, str) and (not value.strip() or not value.isprintable()):
            raise ValueError("must be a path")
        return value

    @model_validator(mode="after")
    def _things_are_apart(self) -> "Campaign":
        if self.charge_column is not None and self.charge_column == self.spin_column:
            raise ValueError(
                f"charge_column and spin_column are both {self.charge_column}; they are two columns"
            )
        paths = [path for path in (self.csv, self.ledger, self.jobs_dir) if path is not None]
        if len(set(paths)) < len(paths):
            raise ValueError("csv, ledger and jobs_dir must be three different paths")
        return self

    @field_validator("keep")
    @classmethod
    def _evidence_is_kept(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not {"out", "engrad"} <= set(value):
            raise ValueError(
                "must hold out and engrad: nothing else proves a result; for example [out, engrad]"
            )
        return value

    @property
    def csv_file(self) -> Path:
        """The CSV.

        Raises:
            CampaignError: there is none: the campaign was made from a ledger.
        """
        if self.csv is None:
            raise CampaignError(
                f"{self.file}: csv: is null, since the campaign was made from a ledger; name a CSV to take rows in"
            )
        return self.csv

    @property
    def file(self) -> Path:
        """The ``campaign.yaml`` that the settings were read from."""
        return self._file

    @property
    def orca_said(self) -> str:
        """Where ORCA's path was said, for messages: a file and its key."""
        return self._orca_said

    @property
    def folder(self) -> Path:
        """The folder of ``campaign.yaml``; relative paths in it are relative to this folder."""
        return self._file.parent

    @property
    def n_cores(self) -> int:
        """Cores of one calculation: ``orca.n_cores``, or those of a worker of Parsl's."""
        follows = self.launcher.in_workers and self.launcher.cores_per_worker is not None
        return self.launcher.cores_per_worker or 1 if follows else self.orca.n_cores

    @property
    def notices(self) -> list[str]:
        """What its settings do that their author may not expect."""
        if self.n_cores == self.orca.n_cores:
            return []
        return [
            f"orca.n_cores {self.orca.n_cores} is not launcher.cores_per_worker {self.n_cores}: each calculation gets"
            f" {self.n_cores} cores"
        ]

    @property
    def partitions_name(self) -> str:
        """The name of the campaign's dynamic partitions in a Dagster instance."""
        return f"structures_{self.name}"

    def level_of_theory(self) -> dict[str, Any]:
        """What a ledger's results have in common; the first submit fixes it in the ledger.

        Returns:
            The engine, template, Hamiltonian, functional, bases (files by their content) and ECP in one spelling,
            grid, and what else changes energies. Cores, memory and iteration limits, also those of an optimisation in
            lines of one's own, are no part of it. ORCA's major version, which only an output tells, is fixed by the
            first result.
        """
        orca = self.orca
        template = TEMPLATES[orca.simple_input]
        return {
            "engine": STANDIN if orca.command == STANDIN else "ORCA",
            "simple_input": orca.simple_input,
            "hamiltonian": template.hamiltonian or "non-relativistic",
            "grid": next(word for word in template.keywords if word.startswith("DEFGRID")),
            **self._canonical(),
            "opt": orca.opt,
            "uks_singlet": orca.uks_singlet,
            "extra_lines": [line for line in orca.extra_lines if not _GEOMETRY_CYCLES.fullmatch(line)],
        }

    def _canonical(self) -> dict[str, Any]:
        level = canonical_level(InputSettings(**self.orca.model_dump(exclude={"command"})))
        return level | {key: _basis_name(level[key]) for key in ("actinide_basis", "non_actinide_basis")}

    def ladders(self) -> Ladders:
        """The steps of the next attempts for each failure class: the defaults, and what ``remedies`` changes."""
        return check_ladders(self.remedies)

    def retry_key(self) -> str:
        """A short hash of the settings that decide whether there is anything left to try after a failure."""
        launcher = self.launcher
        limits = [launcher.memory_mb, launcher.longest_job_s, launcher.job_timeout_s]
        decisive = [
            self.settings_hash(),
            {str(key): list(steps) for key, steps in self.ladders().items()},
            limits,
        ]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def settings_hash(self) -> str:
        """A short hash of the settings that decide what an input computes: the code version of its partitions.

        Cores, memory and comments decide what it costs and how it looks, and are left out: a campaign may get
        more cores without its results being called outdated. A basis file counts by what is in it.
        """
        orca = self.orca.model_dump(exclude={"command", "n_cores", "maxcore"}) | self._canonical()
        if orca["scf_maxiter"] == DEFAULT_MAXITER:
            orca["scf_maxiter"] = None  # which gives the same input
        return hashlib.sha256(json.dumps(orca, sort_keys=True).encode()).hexdigest()[:16]


def _content(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        # It was there when the campaign was loaded; the input writer needs its name alone.
        return file.name


def _basis_name(value: str | None) -> str | None:
    """A basis; by what is in it where it is a file: a file may be moved, and must not be changed."""
    return f"file with SHA-256 {_content(Path(value))}" if value is not None and is_file(value) else value


def load_campaign(path: str | Path, profile: str | None = None) -> Campaign:
    """Read and check a campaign's settings.

    Args:
        path: ``campaign.yaml``, or the folder that holds it.
        profile: the site's, in place of ``launcher.profile``.

    Returns:
        The settings, with every path absolute (relative ones are relative to the file).

    Raises:
        CampaignError: the file is missing, unreadable or a ledger, is not YAML, or a key or value is wrong.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / CAMPAIGN_FILE
    file = Path(os.path.abspath(file))
    try:
        if is_ledger_file(file):
            raise CampaignError(
                f"{file}: is a ledger; give the {CAMPAIGN_FILE} of its campaign, or their folder"
            )
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CampaignError(f"{file}: no such file; `oact init CSV` writes one for your CSV") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{file}: cannot be read: {error}") from None
    return read_campaign(text, file, profile)


def is_ledger_file(path: Path) -> bool:
    """Tell an SQLite file from a ``campaign.yaml``, whatever their names."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError:
        return False


def read_campaign(text: str, file: Path, profile: str | None = None) -> Campaign:
    """Check a campaign's settings.

    Args:
        text: what ``campaign.yaml`` holds, or would hold.
        file: its absolute path; it need not exist.
        profile: the site's, in place of ``launcher.profile``.

    Returns:
        The settings, with every path absolute (relative ones are relative to the file).

    Raises:
        CampaignError: it is not YAML, or a key or value is wrong.
    """
    try:
        raw = read_settings(text)
    except ValueError as error:
        raise CampaignError(f"{file}{error}") from None
    if not isinstance(raw, dict):
        raise CampaignError(f"{file}: must hold settings as `key: value` lines, such as `name: demo`")
    raw, site = _with_profile(raw, profile)
    try:
        campaign = Campaign.model_validate(raw)
    except ValidationError as error:
        beneath = "" if site is None else f" (with profile {site.name} of {site.file})"
        raise CampaignError(f"{file}: {_one_line(error)}{beneath}") from None
    folder = file.parent
    campaign = campaign.model_copy(
        update={
            key: Path(os.path.abspath(folder / path.expanduser()))
            for key in ("csv", "ledger", "jobs_dir")
            if (path := getattr(campaign, key)) is not None
        }
        | {"orca": _with_basis_files(campaign.orca, file)}
    )
    campaign._file = file
    campaign._orca_said = f"{file}: orca.command"
    if site is not None and site.orca_command is not None and raw["orca"]["command"] is site.orca_command:
        campaign._orca_said = f"{site.file}: profile {site.name}: {ORCA_COMMAND}"
    return campaign


def checked_profile(name: str) -> Profile:
    """A site's profile, each of whose settings is one of a launcher's and has a right value.

    Raises:
        CampaignError: there is none of this name, or a setting is wrong; the profiles' file and its profiles are named.
    """
    try:
        profile = find_profile(name)
    except ProfileError as error:
        raise CampaignError(str(error)) from None
    where = f"{profile.file}: profile {name}"
    if "profile" in profile.launcher:
        raise CampaignError(f"{where}: profile: a profile names no other one; {profile.there}")
    try:
        LauncherSettings.model_validate(dict(profile.launcher))
    except ValidationError as error:
        # How settings fit together is seen when the campaign's own are with them.
        wrong = [{**item, "loc": ("launcher", *item["loc"])} for item in error.errors() if item["loc"]]
        if wrong:
            told = "; ".join(_explain(item).removeprefix("launcher.") for item in wrong)
            raise CampaignError(f"{where}: {told}; {profile.there}") from None
    return profile


def _with_profile(raw: dict[Any, Any], name: str | None) -> tuple[dict[Any, Any], Profile | None]:
    """A campaign's settings on top of those of its site, where it names one.

    Raises:
        CampaignError: there is no such profile, or it is wrong.
    """
    launcher = raw.get("launcher")
    said: dict[Any, Any] = launcher if isinstance(launcher, dict) else {}
    name = said.get("profile") if name is None else name
    if not isinstance(name, str) or not (launcher is None or isinstance(launcher, dict)):
        return raw, None
    profile = checked_profile(name)
    merged = {**raw, "launcher": {**profile.under(said), "profile": name}}
    orca = raw.get("orca") if raw.get("orca") is not None else {}
    if profile.orca_command is not None and isinstance(orca, dict) and orca.get("command") is None:
        merged["orca"] = {**orca, "command": profile.orca_command}
    return merged, profile


def _with_basis_files(orca: OrcaSettings, file: Path) -> OrcaSettings:
    """Make the paths of basis files absolute: ORCA runs in the job folder.

    Raises:
        CampaignError: there is no such file.
    """
    found = {}
    for key in ("actinide_basis", "non_actinide_basis"):
        value = getattr(orca, key)
        if value is None or not is_file(value):
            continue
        path = Path(os.path.abspath(file.parent / Path(value).expanduser()))
        if not path.is_file():
            raise CampaignError(
                f"{file}: orca.{key}: {value}: no such file; give a basis file or the name of a basis"
            )
        found[key] = str(path)
    return orca.model_copy(update=found)


def _one_line(error: ValidationError) -> str:
    """All that pydantic found, on one line, each with its key and what is allowed."""
    return "; ".join(_explain(item) for item in error.errors())


def _explain(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        allowed = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{key}: no such setting{hint}; allowed: {', '.join(allowed)}"
    if item["type"] == "missing":
        about = _description(location)
        return f"{key}: is missing" + (f"; give {about}" if about else "")
    if item["type"] in ("tuple_type", "list_type"):
        return f"{key}: must be a list, such as [one, two] (given: {item.get('input')!r})"
    if item["type"] == "dict_type":
        such = [f", such as {example}" for example in _field(location).examples or ()]
        return f"{key}: must hold `key: value` lines{''.join(such[:1])} (given: {item.get('input')!r})"
    if item["type"] == "string_pattern_mismatch":
        return f"{key}: must be letters, digits and _ only (given: {item.get('input')!r})"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    shown = "" if isinstance(given, (dict, list)) else f" (given: {given!r})"
    return f"{key}: {message}{shown}" if key else message


def _description(location: list[str]) -> str | None:
    return _field(location).description


def _field(location: list[str]) -> FieldInfo:
    return _model_at(location[:-1]).model_fields[location[-1]]


def _keys_at(location: list[str]) -> list[str]:
    return list(_model_at(location).model_fields)


def _model_at(location: list[str]) -> type[BaseModel]:
    """The settings at a place, also of the members of a list."""
    model: type[BaseModel] = Campaign
    for part in location:
        if part.isdecimal():
            continue
        annotation = model.model_fields[part].annotation
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model
