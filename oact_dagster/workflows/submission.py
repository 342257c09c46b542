"""Submits jobs, as old scripts request it, through the same code and ledger as everything else."""

import secrets
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from oact_dagster.attempts.events import Event, Note, NotRun
from oact_dagster.attempts.submission import (
    WITHOUT_LIMIT,
    choose,
    node_settings,
    preview,
    submit_structures,
)
from oact_dagster.intake.bare_campaign import DEFAULT_PATTERN, campaign_beside, campaign_with
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher_kinds import scheduler_names
from oact_dagster.text import pluralise
from oact_dagster.workflows.orca_config import OrcaConfig, settings_from_config
from oact_dagster.workflows.preparation import SetupFunc
from oact_dagster.workflows.workflow import ArchitectorWorkflow

_SETUP = "setup"


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
    """Submit jobs to a scheduler, and return; the campaign's next run follows them.

    ``oact dashboard DB --update ROOT_DIR`` records ended jobs, and so does any run of the campaign. Parameters that are
    None or missing come from a ``campaign.yaml`` beside the database. A job that has failed before gets the remedy for
    its failure, and is not submitted again if no remedy is left. Jobs that a scheduler does not take, because it is
    full or does not answer, stay ``to_run``, with a warning that says why. Ctrl+C does not raise: the jobs that were
    submitted are returned.

    Args:
        workflow: an open workflow.
        root_dir: the folder of the job folders.
        batch_size: most jobs to submit.
        scheduler: flux or slurm.
        job_dir_pattern: names of the folders, with ``{orig_index}`` or ``{id}``.
        orca_config: what ORCA computes.
        setup_func: called with each new folder and its job's record.
        n_cores: cores of one calculation.
        n_hours: its time limit, h.
        queue: queue, or partition.
        allocation: bank, or account.
        conda_env: conda environment that a job activates.
        dry_run: only write folders and scripts; submit nothing, and change no status.
        max_fail_count: leave out jobs that have failed at least this often.
        randomize: take any of the jobs; otherwise the most urgent first, in the order of the CSV.

    Returns:
        The ids of the submitted jobs; of a dry run, those whose folders were written.

    Raises:
        ValueError: a setting is wrong; nothing was submitted.
        EngineError, LauncherError: ORCA or the scheduler is not available.
        LedgerError: the ledger cannot be written, or its results have another level of theory.
    """
    if scheduler not in scheduler_names():
        raise ValueError(f"scheduler is {scheduler!r}; it must be one of {', '.join(scheduler_names())}")
    return _submit(
        workflow,
        root_dir,
        batch_size,
        job_dir_pattern=job_dir_pattern,
        orca_config=orca_config,
        n_cores=n_cores,
        launcher={
            "kind": scheduler,
            "n_hours": float(n_hours),
            "queue": queue,
            "allocation": allocation,
            "conda_env": conda_env,
        },
        setup_func=setup_func,
        max_fail_count=max_fail_count,
        randomize=randomize,
        dry_run=dry_run,
        follow=False,
    )


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

    Each result is in the database as soon as it exists. Ctrl+C ends the running calculations; their jobs will run
    again, and count no failure.

    Args:
        workflow: an open workflow.
        root_dir: the folder of the job folders.
        num_jobs: most jobs to run.
        max_workers: calculations at once.
        cores_per_worker: cores of each; the node needs ``max_workers`` times as many.
        job_dir_pattern: names of the folders, with ``{orig_index}`` or ``{id}``.
        orca_config: what ORCA computes.
        setup_func: called with each new folder and its job's record.
        n_cores: cores of one calculation; ``cores_per_worker`` overrides another number, with a warning.
        conda_env: conda environment that Parsl's workers activate.
        conda_base: folder where conda is installed; None: the one on PATH.
        ld_library_path: prepended to the calculations' own.
        dry_run: only write folders; run nothing, and change no status.
        max_fail_count: leave out jobs that have failed at least this often.
        timeout_seconds: time limit of one calculation, s.
        randomize: take any of the jobs; otherwise the most urgent first, in the order of the CSV.

    Returns:
        The ids of the jobs that were begun; of a dry run, those whose folders were written.

    Raises:
        ValueError: a setting is wrong; nothing was run.
        EngineError, LauncherError: ORCA is not available, or nothing can be run.
        LedgerError: the ledger cannot be written, or its results have another level of theory.
    """
    if n_cores != cores_per_worker:
        warnings.warn(
            f"n_cores {n_cores} is not cores_per_worker {cores_per_worker}: each calculation gets"
            f" {cores_per_worker} cores",
            stacklevel=2,
        )
    return _submit(
        workflow,
        root_dir,
        num_jobs,
        job_dir_pattern=job_dir_pattern,
        orca_config=orca_config,
        n_cores=cores_per_worker,
        launcher=node_settings(
            max_workers,
            cores_per_worker,
            timeout_seconds,
            conda_env=conda_env,
            conda_base=conda_base,
            ld_library_path=ld_library_path,
        ),
        setup_func=setup_func,
        max_fail_count=max_fail_count,
        randomize=randomize,
        dry_run=dry_run,
        follow=True,
    )


def _submit(
    workflow: ArchitectorWorkflow,
    root_dir: str | Path,
    count: int,
    *,
    job_dir_pattern: str,
    orca_config: OrcaConfig | None,
    n_cores: int,
    launcher: Mapping[str, Any],
    setup_func: SetupFunc | None,
    max_fail_count: int | None,
    randomize: bool,
    dry_run: bool,
    follow: bool,
) -> list[int]:
    if count < 0:
        raise ValueError(f"{count} jobs cannot be submitted")
    beside = campaign_beside(workflow.db_path)
    with _named_setup(setup_func) as setup:
        campaign = campaign_with(
            beside,
            workflow.db_path,
            Path(root_dir),
            job_dir_pattern=job_dir_pattern,
            orca=settings_from_config(orca_config, n_cores, beside),
            launcher={key: value for key, value in launcher.items() if value is not None},
            retry={"max_failures": WITHOUT_LIMIT if max_fail_count is None else max(1, max_fail_count)},
            batch_size=max(1, count),
            max_in_flight=max(1, count),
            setup_func=setup,
        )
        indices = choose(
            workflow.ledger,
            count,
            max_failures=WITHOUT_LIMIT if max_fail_count is None else max_fail_count,
            max_losses=campaign.retry.max_losses,
            randomize=randomize,
        )
        if dry_run:
            return list(_previewed(workflow, campaign, indices))
        notes: list[str] = []
        reasons: Counter[str] = Counter()

        def watch(event: Event) -> None:
            if isinstance(event, Note) and event.warning:
                notes.append(event.text)
            elif isinstance(event, NotRun):
                reasons[event.reason] += 1

        done = submit_structures(campaign, workflow.ledger, indices, follow=follow, watch=watch)
    if done.problem is None and not done.stopped:
        # An empty list alone would not say why.
        notes += [
            f"{pluralise(number, 'job', 'was', 'were')} not submitted: {reason}"
            for reason, number in reasons.items()
        ]
        for line in dict.fromkeys(notes):
            warnings.warn(line, stacklevel=3)
    if done.problem is not None:
        raise done.problem
    return list(done.begun.values())


def _previewed(workflow: ArchitectorWorkflow, campaign: Campaign, indices: Sequence[int]) -> Iterator[int]:
    for one in preview(campaign, workflow.ledger, indices):
        if one.refused is None:
            yield one.structure_id
        else:
            warnings.warn(f"structure {one.orig_index}: no input was written: {one.refused}", stacklevel=4)


@contextmanager
def _named_setup(function: SetupFunc | None) -> Iterator[str | None]:
    """Give a function a name ``module:function`` while the block runs; None stays None."""
    if function is None:
        yield None
        return
    module = ModuleType(f"oact_live_setup_{secrets.token_hex(8)}")
    setattr(module, _SETUP, function)
    sys.modules[module.__name__] = module
    try:
        yield f"{module.__name__}:{_SETUP}"
    finally:
        del sys.modules[module.__name__]
