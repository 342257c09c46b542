"""Layout of the job folders of a campaign."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from oact_dagster.launchers.attempt_files import INPUT_FILE
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

SHARDED_FROM: Final = 10_000
"""Structures at the first intake from which on job folders are put into subfolders."""

SHARD_SIZE: Final = 1_000
"""Structures in a subfolder: a parallel file system needs minutes to list a folder of a hundred thousand entries."""

_KEY: Final = "job_folders"
_FLAT: Final = "flat"
_SHARDED: Final = "sharded"


@dataclass(frozen=True, slots=True)
class JobLayout:
    """Paths of job folders: ``jobs/job_42``, or ``jobs/000/job_42`` in a campaign that was large from the start."""

    jobs_dir: Path
    pattern: str
    """With ``{orig_index}`` or ``{id}``. The campaign's settings ensure that it stays inside ``jobs_dir``."""
    sharded: bool = False

    @classmethod
    def of(cls, campaign: Campaign, ledger: LedgerReader | None) -> Self:
        """Return the layout that a campaign's ledger says; flat without a ledger, or with an old one."""
        kept = ledger.meta(_KEY) if ledger is not None else None
        return cls(campaign.jobs_dir, campaign.job_dir_pattern, kept == _SHARDED)

    def folder(self, orig_index: int, structure_id: int, kept: str | None = None) -> Path:
        """Return the folder of a structure's current attempt.

        Args:
            orig_index: ``orig_index`` of the structure.
            structure_id: ``id`` of its row in the ledger.
            kept: Its folder in the ledger. If it exists anywhere inside ``jobs_dir``, it is used again, so that a new
                pattern or layout moves nothing.
        """
        if kept is not None:
            # An old ledger may hold anything, such as jobs/../data or jobs itself, which are not job folders.
            folder = Path(os.path.abspath(kept))
            if folder != self.jobs_dir and folder.is_relative_to(self.jobs_dir) and folder.is_dir():
                return folder
        name = self.pattern.format(orig_index=orig_index, id=structure_id)
        flat = self.jobs_dir / name
        # Look for the input: with the pattern {orig_index}, the bare name may be a subfolder such as 100 or 1000.
        if not self.sharded or (flat / INPUT_FILE).is_file():
            return flat
        return self.jobs_dir / f"{orig_index // SHARD_SIZE:03d}" / name


def jobs_dir_refused(jobs_dir: Path) -> str:
    """Return why no job folder can be made in ``jobs_dir``, in one line, or an empty string. Makes nothing."""
    for folder in (jobs_dir, *jobs_dir.parents):
        try:
            folder.lstat()
        except (FileNotFoundError, NotADirectoryError):  # a file on the path comes later among the parents
            continue
        except OSError as error:
            return f"jobs_dir: {jobs_dir}: {error.strerror or error}"
        what = "it" if folder == jobs_dir else str(folder)
        if not folder.is_dir():
            return f"jobs_dir: {jobs_dir}: {what} is not a folder; name a folder that exists or can be made"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"jobs_dir: {jobs_dir}: {what} is not writable; name a folder that you may write to"
        return ""
    return ""


def keep_flat(ledger: Ledger) -> None:
    """Choose a flat layout if none is chosen yet, since older scripts expect ``jobs/job_42``."""
    if ledger.meta(_KEY) is None:
        ledger.set_meta(_KEY, _FLAT)


def choose_layout(ledger: Ledger, structures: int) -> None:
    """Choose the layout at a campaign's first intake, once and for all, by the number of its structures."""
    if ledger.meta(_KEY) is None:
        ledger.set_meta(_KEY, _SHARDED if structures >= SHARDED_FROM else _FLAT)
