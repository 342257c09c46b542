"""Origin of the results: settings, versions, level of theory."""

import platform
import sqlite3
from collections.abc import Iterator
from importlib import metadata

from oact_dagster.ledger.documents import LEVEL_OF_THEORY
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.report.html import escaped, table
from oact_dagster.report.masking import MASK, without_secrets
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.figures import CampaignFigures


def settings_html(campaign: Campaign) -> str:
    """The text of ``campaign.yaml``, without what may be secret."""
    try:
        text = without_secrets(campaign.file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        return f'<p class="note">{escaped(f"{campaign.file}: cannot be shown: {error}")}</p>'
    hidden = f'<p class="quiet">{escaped(MASK)} replaces what may be secret.</p>' if MASK in text else ""
    return f"<h3>{escaped(campaign.file.name)}</h3>\n{hidden}<pre>{escaped(text)}</pre>"


def versions_html(campaign: Campaign, ledger: LedgerReader, figures: CampaignFigures) -> str:
    """Tables of the engines that computed the results, the level of theory, and the programs that wrote the report."""
    present = campaign.level_of_theory()
    level = LEVEL_OF_THEORY.read(ledger) or present
    in_order = {key: level[key] for key in (*present, *level) if key in level}
    unknown = "not kept"
    origins = [
        (one.engine or unknown, one.engine_version or unknown, one.settings_hash or unknown, one.structures)
        for one in figures.origins
    ]
    engines = table(("engine", "version", "settings", "results"), origins, name="Engines and versions")
    settings = table(("setting", "value"), _shown(in_order), name="Level of theory")
    written_with = table(("program", "version"), programs(), name="Versions of programs")
    return "\n".join(
        [
            "".join(_mixed(campaign, figures)),
            '<div class="small-tables">',
            _titled("Computed with", engines),
            _titled("Level of theory", settings),
            _titled("Written with", written_with),
            "</div>",
        ]
    )


def programs() -> Iterator[tuple[str, str]]:
    """``(program, version)`` of the programs that wrote the report."""
    yield "oact-dagster", version("oact-dagster")
    yield "dagster", version("dagster")
    yield "Python", platform.python_version()
    yield "SQLite", sqlite3.sqlite_version
    yield "numpy", version("numpy")


def version(package: str) -> str:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _mixed(campaign: Campaign, figures: CampaignFigures) -> Iterator[str]:
    """Notes if not all results were computed in the same way."""
    versions = {(origin.engine, origin.engine_version) for origin in figures.origins if origin.engine_version}
    if len(versions) > 1:
        listed = ", ".join(sorted(f"{engine or 'unknown'} {number}" for engine, number in versions))
        yield f'<p class="note">Results of different versions: {escaped(listed)}.</p>'
    hashes = {key for key in figures.settings_hashes if key}
    if len(hashes) > 1:
        note = f"Results were made with {len(hashes)} different settings"
    elif hashes and hashes != {campaign.settings_hash()}:
        note = "All results were made with settings other than those below"
    else:
        return
    note += "; `oact run CAMPAIGN --stale` recomputes those that were not made with the present settings."
    yield f'<p class="note">{escaped(note)}</p>'


def _shown(level: dict[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in level.items():
        if value is None or value == [] or value is False:
            continue
        text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield key.replace("_", " "), "yes" if value is True else text


def _titled(title: str, body: str) -> str:
    return f"<div><h3>{escaped(title)}</h3>{body}</div>" if body else ""
