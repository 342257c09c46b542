"""Checks of a campaign's Dagster instance: is its database safe, and does it allow enough concurrent runs."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.settings.campaign import Campaign

SETTINGS: Final = "dagster.yaml"
PROJECTS_SETTINGS: Final = Path(__file__).parents[1] / "defs" / SETTINGS
"""Settings with which a new instance is made."""
_OLD_KEYS: Final = ("run_storage", "event_log_storage", "schedule_storage")


def instance_problems(campaign: Campaign) -> Iterator[str]:
    """Yield a line if the instance's SQLite files would be on a network file system.

    SQLite loses and corrupts data there when several processes write, as Dagster's web page, daemon and runs do. An
    instance that keeps its data in PostgreSQL is safe anywhere. It is in ``DAGSTER_HOME`` if that is set, else in
    ``.dagster`` beside ``campaign.yaml``.
    """
    home = _home(campaign)
    place = _sqlite_folder(home)
    if place is None or (kind := network_filesystem(place)) is None:
        return
    named = os.environ.get("DAGSTER_HOME")
    what = "DAGSTER_HOME" if named else "Dagster's instance (DAGSTER_HOME is not set)"
    yield (
        f"{place}: {what} is on a network file system ({kind}), which corrupts Dagster's SQLite: set DAGSTER_HOME to "
        f"a folder on a local disk, or name PostgreSQL as storage in {home / SETTINGS} (pip install "
        "'oact-dagster[postgres]')"
    )


def instance_notes(campaign: Campaign) -> Iterator[str]:
    """Yield a line if the instance allows too few runs at once for ``max_in_flight`` jobs of a scheduler."""
    if campaign.launcher.kind_facts.program is None:
        return
    file = _home(campaign) / SETTINGS
    # A new instance is made with the project's settings.
    runs = _concurrent_runs(_settings(file if file.exists() else PROJECTS_SETTINGS))
    if runs is not None and campaign.max_in_flight > campaign.batch_size * runs:
        yield (
            f"max_in_flight {campaign.max_in_flight} is above batch_size {campaign.batch_size} times {runs} concurrent"
            f" runs: at most {campaign.batch_size * runs} structures are in the queue at a time; raise batch_size, or"
            f" max_concurrent_runs in {file}"
        )


def _concurrent_runs(settings: Mapping[str, Any]) -> int | None:
    """How many runs an instance allows at once; None without a limit or a setting."""
    for keys in (
        ("concurrency", "runs", "max_concurrent_runs"),
        ("run_coordinator", "config", "max_concurrent_runs"),
        ("run_queue", "max_concurrent_runs"),
    ):
        value: Any = settings
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return value if value >= 0 else None
    return None


def _home(campaign: Campaign) -> Path:
    named = os.environ.get("DAGSTER_HOME")
    return Path(os.path.abspath(Path(named).expanduser())) if named else campaign.folder / ".dagster"


def _settings(file: Path) -> Mapping[str, Any]:
    """An instance's settings; empty if they cannot be read."""
    try:
        settings: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, Mapping) else {}


def _sqlite_folder(home: Path) -> Path | None:
    """The folder of an instance's SQLite files; None if it keeps its data elsewhere."""
    settings = _settings(home / SETTINGS)
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
