"""Submitting jobs, as old scripts ask for it: through the same execution and ledger as everything else."""

import contextlib
import random
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from oact_dagster.campaign import Campaign
from oact_dagster.execution.bare_campaign import DEFAULT_PATTERN, campaign_beside
from oact_dagster.execution.batch import BatchRun
from oact_dagster.execution.engine import find_engine
from oact_dagster.execution.events import Completed, Event, Failed, InputWritten, NotRun
from oact_dagster.execution.selection import BatchRequest
from oact_dagster.execution.setup_hook import SetupError
from oact_dagster.execution.stopping import StopLevel, StopRequest, signals_stop
from oact_dagster.launchers.choose import make_launcher
from oact_dagster.ledger.states import Status
from oact_dagster.workflows.job_scripts import write_flux_job_file, write_slurm_job_file
from oact_dagster.workflows.live_setup import named_setup
from oact_dagster.workflows.orca_config import OrcaConfig, campaign_of
from oact_dagster.workflows.parsl_config import worker_lines
from oact_dagster.workflows.preparing import SetupFunc, prepare_job_directory
from oact_dagster.workflows.workflow import ArchitectorWorkflow

_SCHEDULERS: Final = ("flux", "slurm")
_WITHOUT_LIMIT: Final = 10**9
_LOOKED_AT: Final = 500
_READY: Final = (Status.TO_RUN, Status.READY)


def submit_batch(
    workflow: ArchitectorWorkflow,
    root_dir: str | Path,
    batch_size: int = 10,
    scheduler: str = "flux",
    job_dir_pattern: str = DEFAULT_PATTERN,
    orca_config: OrcaConfig | None = None,
    setup_func: SetupFunc | None = None,
    n_cores: int = 4,
    n_hours: float = 2,
    queue: str | None = None,
    allocation: str | None = None,
    conda_env: str | None = None,
    dry_run: bool = False,
    max_fail_count: int | None = None,
    randomize: bool = True,
) -> list[int]:
    """Submit jobs to a scheduler, and return; whoever runs the campaign next follows them.

    ``oact dashboard DB --update ROOT_DIR`` records what has ended, and so does any run of the campaign. What a
    ``campaign.yaml`` beside the database says of its launcher holds where a parameter is None. A job that has failed
    before gets the remedy for its failure; one for whose failure none is left is not submitted again.

    Args:
        workflow: an open workflow.
        root_dir: the folder of the job folders.
        batch_size: at most so many jobs.
        scheduler: flux or slurm.
        job_dir_pattern: names of the folders, with ``{orig_index}`` or ``{id}``.
        orca_config: what ORCA computes; what it leaves out is the template's.
        setup_func: called with each new folder and its job's record.
        n_cores: cores of one calculation.
        n_hours: its time limit, h.
        queue: queue, or partition.
        allocation: bank, or account.
        conda_env: conda environment that a job activates.
        dry_run: write folders and scripts only; nothing is submitted, and no status changes.
        max_fail_count: jobs that have failed as often are left out.
        randomize: take any of the jobs; otherwise the most urgent first, in the order of the CSV.

    Returns:
        The ids of the jobs submitted; of a dry run, of those whose folders were written.

    Raises:
        ValueError: a setting is wrong; nothing was submitted.
        EngineError, LauncherError: ORCA or the scheduler is not there.
        LedgerError: the ledger cannot be written, or its results are of another level of theory.
    """
    if scheduler not in _SCHEDULERS:
        raise ValueError(f"scheduler is {scheduler!r}; it must be one of {', '.join(_SCHEDULERS)}")
    given = {
        "kind": scheduler,
        "n_hours": float(n_hours),
        "queue": queue,
        "allocation": allocation,
        "conda_env": conda_env,
    }
    indices = _choose(workflow, batch_size, max_fail_count, randomize=randomize)
    script = {"flux": write_flux_job_file, "slurm": write_slurm_job_file}[scheduler]

    def write_script(campaign: Campaign, folder: Path) -> None:
        settings = campaign.launcher
        script(
            folder,
            n_cores,
            n_hours,
            settings.queue,
            settings.allocation,
            campaign.orca.command,
            settings.conda_env,
        )

    with named_setup(setup_func) as name:
        campaign = _campaign(
            workflow,
            root_dir,
            orca_config,
            n_cores,
            job_dir_pattern,
            given,
            max_fail_count,
            len(indices),
            name,
        )
        if dry_run:
            return _prepare_only(
                workflow,
                campaign,
                root_dir,
                indices,
                job_dir_pattern,
                orca_config,
                n_cores,
                setup_func,
                write_script,
            )
        stop = StopRequest()
        begun: list[int] = []
        left = set(indices)
        for event in _run(workflow, campaign, indices, stop):
            if isinstance(event, InputWritten) and not event.reused and event.job_dir is not None:
                begun.append(event.structure.orig_index)
                with contextlib.suppress(OSError):
                    write_script(campaign, event.job_dir)
            left.discard(_index_of(event))
            if not left:
                # All have been handed over: their jobs go on without us.
                stop.raise_to(StopLevel.FINISH)
    return _still_ours(workflow, begun)


def submit_batch_parsl(
    workflow: ArchitectorWorkflow,
    root_dir: str | Path,
    num_jobs: int,
    max_workers: int = 4,
    cores_per_worker: int = 16,
    job_dir_pattern: str = DEFAULT_PATTERN,
    orca_config: OrcaConfig | None = None,
    setup_func: SetupFunc | None = None,
    n_cores: int = 16,
    conda_env: str | None = None,
    conda_base: str | None = None,
    ld_library_path: str | None = None,
    dry_run: bool = False,
    max_fail_count: int | None = None,
    timeout_seconds: float = 7200,
    randomize: bool = True,
) -> list[int]:
    """Run jobs on this node, several at once, and return when all have ended.

    Each result is in the database as soon as it is there. Ctrl+C ends the running calculations; their jobs are to be
    run again, and count no failure.

    Args:
        workflow: an open workflow.
        root_dir: the folder of the job folders.
        num_jobs: at most so many jobs.
        max_workers: calculations at once.
        cores_per_worker: cores of each; the node needs ``max_workers`` times as many.
        job_dir_pattern: names of the folders, with ``{orig_index}`` or ``{id}``.
        orca_config: what ORCA computes; what it leaves out is the template's.
        setup_func: called with each new folder and its job's record.
        n_cores: cores of one calculation; another number than ``cores_per_worker`` gives way to that, with a warning.
        conda_env: conda environment that is activated for the calculations; the workers run the calling Python.
        conda_base: where conda is installed; None: the one on PATH.
        ld_library_path: put before the calculations' own.
        dry_run: write folders only; nothing is run, and no status changes.
        max_fail_count: jobs that have failed as often are left out.
        timeout_seconds: time limit of one calculation, s.
        randomize: take any of the jobs; otherwise the most urgent first, in the order of the CSV.

    Returns:
        The ids of the jobs that were begun; of a dry run, of those whose folders were written.

    Raises:
        ValueError: a setting is wrong; nothing was run.
        EngineError, LauncherError: ORCA is not there, or nothing can be run.
        LedgerError: the ledger cannot be written, or its results are of another level of theory.
    """
    if n_cores != cores_per_worker:
        warnings.warn(
            f"n_cores {n_cores} is not cores_per_worker {cores_per_worker}: each calculation gets"
            f" {cores_per_worker} cores",
            stacklevel=2,
        )
    given = {
        "kind": "parsl",
        "provider": "local",
        "max_workers": max_workers,
        "cores_per_worker": cores_per_worker,
        "job_timeout_s": float(timeout_seconds),
        "worker_init": worker_lines(conda_env, conda_base, ld_library_path, " || exit 5") or None,
    }
    indices = _choose(workflow, num_jobs, max_fail_count, randomize=randomize)
    with named_setup(setup_func) as name:
        campaign = _campaign(
            workflow,
            root_dir,
            orca_config,
            cores_per_worker,
            job_dir_pattern,
            given,
            max_fail_count,
            len(indices),
            name,
        )
        if dry_run:
            return _prepare_only(
                workflow,
                campaign,
                root_dir,
                indices,
                job_dir_pattern,
                orca_config,
                cores_per_worker,
                setup_func,
            )
        begun: dict[int, None] = {}
        stop = StopRequest()
        with signals_stop(stop):
            for event in _run(workflow, campaign, indices, stop):
                if isinstance(event, InputWritten) and not event.reused:
                    begun[event.structure.id] = None
    return list(begun)


def _run(
    workflow: ArchitectorWorkflow, campaign: Campaign, indices: Sequence[int], stop: StopRequest
) -> Iterator[Event]:
    if not indices:
        return
    request = BatchRequest(indices, (Status.TO_RUN,), named=False)
    engine = find_engine(campaign)
    batch_id = f"submit-{secrets.token_hex(4)}"
    yield from BatchRun(
        campaign, workflow.ledger, make_launcher(campaign), engine, request, batch_id, stop=stop
    ).run()


def _choose(
    workflow: ArchitectorWorkflow, count: int, max_fail_count: int | None, *, randomize: bool
) -> list[int]:
    """``orig_index`` of the jobs to be submitted."""
    if count < 0:
        raise ValueError(f"{count} jobs cannot be submitted")
    all_ready = workflow.ledger.select(_READY)
    if randomize:
        random.shuffle(all_ready)
    chosen: list[int] = []
    left = iter(all_ready)
    while len(chosen) < count and (some := list(islice(left, _LOOKED_AT))):
        known = workflow.ledger.structures(some)
        chosen += [
            index for index in some if max_fail_count is None or known[index].fail_count < max_fail_count
        ]
    return chosen[:count]


def _campaign(
    workflow: ArchitectorWorkflow,
    root_dir: str | Path,
    orca_config: OrcaConfig | None,
    n_cores: int,
    job_dir_pattern: str,
    launcher: Mapping[str, Any],
    max_fail_count: int | None,
    jobs: int,
    setup: str | None,
) -> Campaign:
    """A script's settings, and beneath them those of the campaign beside the database."""
    beside = campaign_beside(workflow.db_path)
    base = beside.launcher.model_dump(mode="json", exclude_unset=True) if beside is not None else {}
    if beside is not None and not (orca_config or {}).get("orca_path"):
        orca_config = {**(orca_config or {}), "orca_path": beside.orca.command}
    said = {key: value for key, value in launcher.items() if value is not None}
    if "job_timeout_s" in said:
        base.pop("n_hours", None)
    elif "n_hours" in said:
        base.pop("job_timeout_s", None)
    return campaign_of(
        workflow.db_path,
        root_dir,
        config=orca_config,
        n_cores=n_cores,
        job_dir_pattern=job_dir_pattern,
        launcher={**base, **said},
        retry={"max_failures": _WITHOUT_LIMIT if max_fail_count is None else max(1, max_fail_count)},
        batch_size=max(1, jobs),
        max_in_flight=max(1, jobs),
        setup_func=setup,
    )


def _prepare_only(
    workflow: ArchitectorWorkflow,
    campaign: Campaign,
    root_dir: str | Path,
    indices: Sequence[int],
    pattern: str,
    orca_config: OrcaConfig | None,
    n_cores: int,
    setup_func: SetupFunc | None,
    write_script: Any = None,
) -> list[int]:
    """Write folders and scripts, to be looked at."""
    structures = workflow.ledger.structures(indices)
    rows = workflow.ledger.stored([structures[index].id for index in indices])
    from oact_dagster.execution.job_record import stored_job_record

    made = []
    for index in indices:
        record = stored_job_record(rows[structures[index].id])
        try:
            folder = prepare_job_directory(record, root_dir, pattern, orca_config, n_cores, setup_func)
        except (ValueError, SetupError) as error:
            warnings.warn(f"structure {index}: no input can be written: {error}", stacklevel=3)
            continue
        if write_script is not None:
            write_script(campaign, folder)
        made.append(record.id)
    return made


def _index_of(event: Event) -> int | None:
    if isinstance(event, NotRun):
        return event.orig_index
    return event.structure.orig_index if isinstance(event, (InputWritten, Completed, Failed)) else None


def _still_ours(workflow: ArchitectorWorkflow, indices: Sequence[int]) -> list[int]:
    """``id`` of those that were not given back: a scheduler that is full takes some only."""
    structures = workflow.ledger.structures(indices)
    return [
        structures[index].id
        for index in indices
        if structures[index].status not in (Status.TO_RUN, Status.READY)
    ]
