"""The Dagster instance of a campaign."""

import contextlib
import os
import shutil
from pathlib import Path

from oact_dagster.files import FileLock
from oact_dagster.settings.campaign import Campaign

TEMPLATE = Path(__file__).with_name("dagster.yaml")

_DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Files of an instance with SQLite storage."""


def dagster_home(campaign: Campaign) -> Path:
    """The folder of the campaign's Dagster instance: ``DAGSTER_HOME`` if set, else ``.dagster`` beside the campaign.

    A missing folder is made, with the project's ``dagster.yaml``; an existing one is left as it is.

    Raises:
        OSError: the folder cannot be made.
    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(os.path.abspath(Path(named).expanduser())) if named else campaign.folder / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        shutil.copyfile(TEMPLATE, settings)
    return home


def make_instance(home: Path) -> None:
    """Make the databases of the instance in ``home`` if there are none yet, or wait while another process does.

    Without the lock, two processes that made them at once would break each other's tables.

    Raises:
        StorageError: they cannot be made.
        OSError: the folder cannot be written.
    """
    from oact_dagster.defs.storage_faults import storage_errors

    with contextlib.closing(FileLock(home / ".making", wait=True)), storage_errors(home):
        if all((home / name).exists() for name in _DATABASES):
            return
        from dagster import DagsterInstance

        with DagsterInstance.from_config(str(home)) as instance:
            instance.get_runs_count()
            instance.all_asset_keys()
            instance.all_instigator_state()
