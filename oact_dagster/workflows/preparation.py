"""Writes the folder of a job, as old scripts request it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from oact_dagster.attempts.input_text import input_text
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.setup_hook import run_setup
from oact_dagster.errors import CampaignError
from oact_dagster.files import atomic_write
from oact_dagster.intake.bare_campaign import DEFAULT_PATTERN, bare_campaign
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, INPUT_FILE, has_run
from oact_dagster.ledger.states import JobRecord, StructureRecord
from oact_dagster.workflows.orca_config import OrcaConfig, settings_from_config

SetupFunc = Callable[[Path, JobRecord], Any]
"""Called with the folder and the job's record."""


def prepare_job_directory(
    job_record: JobRecord,
    root_dir: str | Path,
    job_dir_pattern: str = DEFAULT_PATTERN,
    orca_config: OrcaConfig | None = None,
    n_cores: int = 4,
    setup_func: SetupFunc | None = None,
) -> Path:
    """Write a job's folder with its ``orca.inp``; run nothing, and change no status.

    A folder in which something has run is renamed first (``job_42.attempt-1``).

    Args:
        job_record: which job.
        root_dir: the folder of the job folders.
        job_dir_pattern: the folder's name, with ``{orig_index}`` or ``{id}``.
        orca_config: what ORCA computes; missing keys come from the template.
        n_cores: cores of the calculation.
        setup_func: called with the folder, which already holds ``orca.inp``, to add files. It must not change
            ``orca.inp``.

    Returns:
        The folder. For a job without a geometry, the folder is made without an ``orca.inp``.

    Raises:
        ValueError: structure and settings do not fit together, or a setting is wrong; nothing was written.
        SetupError: ``setup_func`` raised.
        OSError: it cannot be written.
    """
    try:
        campaign = bare_campaign(
            Path(root_dir) / "workflow.db",
            Path(root_dir),
            job_dir_pattern=job_dir_pattern,
            orca=settings_from_config(orca_config, n_cores),
        )
    except CampaignError as error:
        # Messages begin with the path of a ledger, but this function has none.
        raise ValueError(error.problem) from None
    layout = JobLayout(campaign.jobs_dir, campaign.job_dir_pattern)
    record = _structure_record(job_record)
    folder = layout.folder(record.orig_index, record.id, record.job_dir)
    fresh = not folder.exists() or has_run(folder) or (folder / ATTEMPT_FILE).exists()
    if record.geometry and fresh:
        return FolderWriter(campaign, layout, setup_func).input_only(record).folder
    files = {INPUT_FILE: input_text(campaign, record, None)} if record.geometry else {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        atomic_write(folder / name, text)
    if setup_func is not None:
        run_setup(setup_func, folder, job_record, files)
    return folder


def _structure_record(record: JobRecord) -> StructureRecord:
    if record.orig_index is None:
        raise ValueError(f"the job with the id {record.id} has no orig_index, so its folder has no name")
    return StructureRecord(
        id=record.id,
        orig_index=record.orig_index,
        elements=record.elements or "",
        natoms=record.natoms or 0,
        status=record.status,
        charge=record.charge or 0,
        multiplicity=1 if record.spin is None else record.spin,
        geometry=record.geometry or "",
        job_dir=record.job_dir,
        fail_count=record.fail_count,
        error_message=record.error_message,
        loss_count=0,
        held=False,
        row_hash="",
        annotations={},
    )
