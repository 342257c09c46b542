"""Whether a campaign's Dagster instance lies where its database is safe."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from oact_dagster.campaign import Campaign
from oact_dagster.ledger.filesystem import network_filesystem

SETTINGS: Final = "dagster.yaml"
_OLD_KEYS: Final = ("run_storage", "event_log_storage", "schedule_storage")


def instance_problems(campaign: Campaign) -> Iterator[str]:
    """Tell in a line where the instance's SQLite files would lie on a network file system.

    SQLite loses and corrupts data there when several processes write, and Dagster's web page, daemon and runs do.
    An instance that keeps its data in PostgreSQL is fine anywhere.

    Args:
        campaign: whose instance: ``DAGSTER_HOME`` if set, else ``.dagster`` beside ``campaign.yaml``.
    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(os.path.abspath(Path(named).expanduser())) if named else campaign.folder / ".dagster"
    place = _sqlite_folder(home)
    if place is None or (kind := network_filesystem(place)) is None:
        return
    what = "DAGSTER_HOME" if named else "Dagster's instance (DAGSTER_HOME is not set)"
    yield (
        f"{place}: {what} lies on a network file system ({kind}), where Dagster's SQLite corrupts: set DAGSTER_HOME to "
        f"a folder on a local disk, or name PostgreSQL as storage in {home / SETTINGS} (pip install "
        "'oact-dagster[postgres]')"
    )


def _sqlite_folder(home: Path) -> Path | None:
    """Where an instance keeps its SQLite files; None where it keeps its data elsewhere."""
    try:
        settings: Any = yaml.safe_load((home / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return home
    if not isinstance(settings, Mapping):
        return home
    if all(isinstance(settings.get(key), Mapping) for key in _OLD_KEYS):
        modules = [str(settings[key].get("module", "")) for key in _OLD_KEYS]
        return None if not any(module.startswith("dagster.") for module in modules) else home
    storage = settings.get("storage")
    if not isinstance(storage, Mapping):
        return home
    if "sqlite" not in storage:
        return None
    folder = (storage["sqlite"] or {}).get("base_dir") if isinstance(storage["sqlite"], Mapping) else None
    if isinstance(folder, Mapping):
        folder = os.environ.get(str(folder.get("env")))
    return Path(folder) if isinstance(folder, str) and folder else home
