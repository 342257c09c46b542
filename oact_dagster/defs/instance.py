"""The Dagster instance of a campaign."""

import contextlib
import os
import shutil
from pathlib import Path

from oact_dagster.files import FileLock
from oact_dagster.settings.campaign import Campaign

TEMPLATE = Path(__file__).with_name("dagster.yaml")

_DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Of an instance that keeps its events in SQLite."""


def dagster_home(campaign: Campaign) -> Path:
    """Where the campaign's Dagster instance lies: ``DAGSTER_HOME`` if set, else ``.dagster`` beside the campaign.

    A missing one is made, with the project's ``dagster.yaml``; an existing one is left as it is.

    Raises:
        OSError: it cannot be made.
    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(os.path.abspath(Path(named).expanduser())) if named else campaign.folder / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        shutil.copyfile(TEMPLATE, settings)
    return home


def make_instance(home: Path) -> None:
    """Make the instance's databases where there are none yet, or wait until another process has.

    Two processes that make them at once fail each other's, with errors of the tables.

    Args:
        home: its folder, with a ``dagster.yaml``.

    Raises:
        StorageError: they cannot be made.
        OSError: the folder cannot be written.
    """
    from oact_dagster.defs.storage_faults import telling_of_storage

    with contextlib.closing(FileLock(home / ".making", wait=True)), telling_of_storage(home):
        if all((home / name).exists() for name in _DATABASES):
            return
        from dagster import DagsterInstance

        with DagsterInstance.from_config(str(home)) as instance:
            instance.get_runs_count()
            instance.all_asset_keys()
            instance.all_instigator_state()
