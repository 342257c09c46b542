"""Where the folders of a campaign's structures are."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from oact_dagster.launchers.attempt_files import INPUT_FILE
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

SHARDED_FROM: Final = 10_000
"""Structures at the first intake from which job folders are put into subfolders."""

SHARD_SIZE: Final = 1_000
"""Structures in a subfolder: listing a folder of a hundred thousand takes a parallel file system minutes."""

_KEY: Final = "job_folders"
_FLAT: Final = "flat"
_SHARDED: Final = "sharded"


@dataclass(frozen=True, slots=True)
class JobLayout:
    """Where job folders are: ``jobs/job_42``, or ``jobs/000/job_42`` in a campaign that began large."""

    jobs_dir: Path
    pattern: str
    """With ``{orig_index}`` or ``{id}``; checked by the campaign's settings to stay inside ``jobs_dir``."""
    sharded: bool = False

    @classmethod
    def of(cls, campaign: Campaign, ledger: LedgerReader | None) -> Self:
        """The layout of a campaign: what its ledger says, and flat where there is none yet, or an old one."""
        kept = ledger.meta(_KEY) if ledger is not None else None
        return cls(campaign.jobs_dir, campaign.job_dir_pattern, kept == _SHARDED)

    def folder(self, orig_index: int, structure_id: int, kept: str | None = None) -> Path:
        """The folder of a structure's current attempt.

        Args:
            orig_index: of the structure.
            structure_id: its row's id in the ledger.
            kept: the folder that the ledger has for it: one that is there is used again, wherever in ``jobs_dir``
                it is, so that another pattern or layout moves nothing.
        """
        if kept is not None:
            # An old ledger may hold anything: jobs/../data is not below jobs, and jobs itself is no job folder.
            folder = Path(os.path.abspath(kept))
            if folder != self.jobs_dir and folder.is_relative_to(self.jobs_dir) and folder.is_dir():
                return folder
        name = self.pattern.format(orig_index=orig_index, id=structure_id)
        flat = self.jobs_dir / name
        # By its input: with the pattern {orig_index} the name may be that of a subfolder, 100 or 1000.
        if not self.sharded or (flat / INPUT_FILE).is_file():
            return flat
        return self.jobs_dir / f"{orig_index // SHARD_SIZE:03d}" / name


def jobs_dir_refused(jobs_dir: Path) -> str:
    """Why no job folder can be made in ``jobs_dir``, in one line; empty where it can. Nothing is made."""
    for folder in (jobs_dir, *jobs_dir.parents):
        try:
            folder.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            # NotADirectoryError: the file itself comes among the parents.
            if isinstance(error, NotADirectoryError):
                continue
            return f"jobs_dir: {jobs_dir}: {error.strerror or error}"
        what = "it" if folder == jobs_dir else str(folder)
        if not folder.is_dir():
            return f"jobs_dir: {jobs_dir}: {what} is not a folder; name one that is there, or can be made"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"jobs_dir: {jobs_dir}: {what} cannot be written; name a folder in which you may write"
        return ""
    return ""


def keep_flat(ledger: Ledger) -> None:
    """Let all job folders lie side by side, where nothing is chosen yet: scripts of old look for ``jobs/job_42``."""
    if ledger.meta(_KEY) is None:
        ledger.set_meta(_KEY, _FLAT)


def choose_layout(ledger: Ledger, structures: int) -> None:
    """Choose at a campaign's first intake whether its folders are sharded; what is chosen stays.

    Args:
        ledger: of the campaign.
        structures: how many it begins with.
    """
    if ledger.meta(_KEY) is None:
        ledger.set_meta(_KEY, _SHARDED if structures >= SHARDED_FROM else _FLAT)
