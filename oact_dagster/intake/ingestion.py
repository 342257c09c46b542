"""Intake without Dagster: into the ledger of a campaign, or into one that has no ``campaign.yaml`` (yet)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from oact_dagster.attempts.job_layout import keep_flat
from oact_dagster.intake.bare_campaign import bare_campaign, campaign_beside
from oact_dagster.intake.identity import check_names, fix_names
from oact_dagster.intake.intake import IntakeProgress, take_in
from oact_dagster.intake.report import IntakeReport
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign


def ingest_csv(
    csv: Path,
    ledger: Path,
    *,
    geometry_column: str,
    charge_column: str | None,
    spin_column: str | None,
    annotate: Sequence[str] | None = None,
    flat: bool = False,
    progress: IntakeProgress | None = None,
) -> IntakeReport:
    """Write the rows of a CSV to a ledger; to an existing ledger only the new rows.

    A missing ledger is created, but removed again if the CSV is refused. A charge or spin column of None means 0 for
    all. ``annotate`` names columns that are kept with the structures and written into their inputs as comments; None:
    those of the ``campaign.yaml`` beside the ledger. ``flat`` puts all job folders side by side, even for very many
    structures.

    Raises:
        IntakeRefused: The whole CSV is refused; nothing was written.
        LedgerError: The ledger cannot be written.
    """
    beside = campaign_beside(ledger) if ledger.exists() else None
    if annotate is None and beside is not None:
        annotate = beside.annotate
    # The new rows are ordered by the same settings as the known ones.
    ordering = (
        {}
        if beside is None
        else {
            "feed": beside.feed.model_dump(mode="json"),
            "orca": beside.orca.model_dump(mode="json", exclude_unset=True),
        }
    )
    campaign = bare_campaign(
        ledger,
        ledger.expanduser().absolute().parent / "jobs",
        csv=str(csv.expanduser().absolute()),
        geometry_column=geometry_column,
        charge_column=charge_column,
        spin_column=spin_column,
        annotate=list(annotate or ()),
        **ordering,
    )
    with _ledger_or_none(campaign) as made:
        if flat:
            keep_flat(made)
        return take_in(campaign, made, progress)


def ingest_campaign(campaign: Campaign, progress: IntakeProgress | None = None) -> IntakeReport:
    """Write the new rows of a campaign's CSV to its ledger, and run nothing.

    A missing ledger is created, but removed again if the CSV is refused. The structures get no partition keys, which
    would need a Dagster instance. The CSV is therefore not noted as taken in: the next intake, by ``oact run`` or
    ``intake_sensor``, reads it again and adds the keys.

    Raises:
        IntakeRefused: The whole CSV is refused; nothing was written.
        LedgerError: The ledger cannot be written, or has other names.
    """
    with _ledger_or_none(campaign) as made:
        check_names(campaign, made)
        report = take_in(campaign, made, progress)
        fix_names(campaign, made)
        return report


@contextmanager
def _ledger_or_none(campaign: Campaign) -> Iterator[Ledger]:
    """Open the ledger, or create it; a new one is removed again after an error."""
    new = not campaign.ledger.exists()
    try:
        with Ledger(campaign.ledger, create=True) as made:
            yield made
    except BaseException:
        if new:
            campaign.ledger.unlink(missing_ok=True)
        raise
