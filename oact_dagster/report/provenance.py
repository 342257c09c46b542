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
    origins = [
        (
            origin.engine or "not kept",
            origin.engine_version or "not kept",
            origin.settings_hash or "not kept",
            origin.structures,
        )
        for origin in figures.origins
    ]
    parts = [
        "".join(_mixed(campaign, figures)),
        '<div class="small-tables">',
        _titled(
            "Computed with",
            table(("engine", "version", "settings", "results"), origins, name="Engines and versions"),
        ),
        _titled("Level of theory", table(("setting", "value"), _shown(in_order), name="Level of theory")),
        _titled("Written with", table(("program", "version"), programs(), name="Versions of programs")),
        "</div>",
    ]
    return "\n".join(parts)


def programs() -> Iterator[tuple[str, str]]:
    """``(program, version)`` of the programs that wrote the report."""
    yield "oact-dagster", _version("oact-dagster")
    yield "dagster", _version("dagster")
    yield "Python", platform.python_version()
    yield "SQLite", sqlite3.sqlite_version
    yield "numpy", _version("numpy")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _mixed(campaign: Campaign, figures: CampaignFigures) -> Iterator[str]:
    """Notes if not all results were computed in the same way."""
    versions = {(origin.engine, origin.engine_version) for origin in figures.origins if origin.engine_version}
    if len(versions) > 1:
        told = ", ".join(sorted(f"{engine or 'unknown'} {version}" for engine, version in versions))
        yield f'<p class="note">Results of different versions: {escaped(told)}.</p>'
    hashes = {key for key in figures.settings_hashes if key}
    if len(hashes) > 1:
        told = f"Results were made with {len(hashes)} different settings"
    elif hashes and hashes != {campaign.settings_hash()}:
        told = "All results were made with settings other than those below"
    else:
        return
    again = "; `oact run CAMPAIGN --stale` recomputes those that were not made with the present settings."
    yield f'<p class="note">{escaped(told + again)}</p>'


def _shown(level: dict[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in level.items():
        if value is None or value == [] or value is False:
            continue
        told = (
            "; ".join(map(str, value)) if isinstance(value, list) else "yes" if value is True else str(value)
        )
        yield key.replace("_", " "), told


def _titled(title: str, body: str) -> str:
    return f"<div><h3>{escaped(title)}</h3>{body}</div>" if body else ""
