"""Taking a CSV in without Dagster: into a ledger that has no ``campaign.yaml`` (yet), or into that of a campaign."""

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
    """Write the rows of a CSV to a ledger; of one that is there the new rows.

    Args:
        csv: the CSV.
        ledger: the SQLite file; it is made where it is missing, and not left behind when the CSV is refused.
        geometry_column: holds the geometries.
        charge_column: holds the charges; None: 0 for all.
        spin_column: holds the unpaired electrons; None: 0 for all.
        annotate: columns that are kept with the structures, and written into their inputs as comments; None: those of
            the ``campaign.yaml`` beside the ledger.
        flat: all job folders are to lie side by side, also those of very many structures.
        progress: called now and then with the bytes done and the bytes in all.

    Raises:
        IntakeRefused: the CSV is refused whole; nothing was written.
        LedgerError: the ledger cannot be written.
    """
    beside = campaign_beside(ledger) if ledger.exists() else None
    if annotate is None and beside is not None:
        annotate = beside.annotate
    # The new rows get their places in the order of the known ones.
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

    The structures get no partition keys, for which a Dagster instance is needed. The CSV is therefore not noted as
    taken in: ``intake``, that of ``oact run`` or of ``intake_sensor``, reads it once more and gives them.

    Args:
        campaign: its settings; its ledger is made where it is missing, and not left behind when the CSV is refused.
        progress: called now and then with the bytes done and the bytes in all.

    Raises:
        IntakeRefused: the CSV is refused whole; nothing was written.
        LedgerError: the ledger cannot be written, or was taken in under other names.
    """
    with _ledger_or_none(campaign) as made:
        check_names(campaign, made)
        report = take_in(campaign, made, progress)
        fix_names(campaign, made)
        return report


@contextmanager
def _ledger_or_none(campaign: Campaign) -> Iterator[Ledger]:
    """The ledger, made where it is missing; one that was made is gone again where something is wrong."""
    new = not campaign.ledger.exists()
    try:
        with Ledger(campaign.ledger, create=True) as made:
            yield made
    except BaseException:
        if new:
            campaign.ledger.unlink(missing_ok=True)
        raise
