"""The asset ``intake``: makes ledger rows and partition keys from the whole CSV."""

import sqlite3

import dagster as dg

from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.metadata import table
from oact_dagster.defs.partitions import MOST_PARTITIONS, register_partitions
from oact_dagster.errors import IntakeRefused, LedgerError
from oact_dagster.intake.csv_stamp import csv_stamp, note_refused, note_taken_in
from oact_dagster.intake.identity import check_names, fix_names
from oact_dagster.intake.intake import take_in
from oact_dagster.intake.report import IntakeReport
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign


def intake_asset(campaign: Campaign) -> dg.AssetsDefinition:
    """The asset that takes in a campaign's CSV; run again, it takes in rows added at the end."""

    @dg.asset(
        key=CampaignKeys.of(campaign).intake,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=campaign.name,
        owners=campaign.owners,
        kinds={"csv", "sqlite"},
        metadata={
            name: dg.MetadataValue.path(str(path))
            for name, path in (("csv", campaign.csv), ("ledger", campaign.ledger))
            if path is not None
        },
        description=(
            "Reads the whole CSV, checks every row, writes the ledger's rows, and gives each structure its partition"
            " key. Refused rows are kept with the reason (`oact dashboard --show-rejected`). The CSV may only grow at"
            " its end."
        ),
    )
    def intake(context: dg.AssetExecutionContext) -> None:
        new = not campaign.ledger.exists()
        try:
            stamp = csv_stamp(campaign)
            with Ledger(campaign.ledger, create=True) as ledger:
                check_names(campaign, ledger)
                try:
                    report = take_in(campaign, ledger)
                except IntakeRefused as error:
                    note_refused(ledger, stamp, str(error))
                    raise
                fix_names(campaign, ledger)
                added = register_partitions(context.instance, campaign, ledger)
                note_taken_in(ledger, stamp)
        except (IntakeRefused, LedgerError) as error:
            if new:
                # The whole CSV is refused: leave nothing behind, not even an empty ledger.
                campaign.ledger.unlink(missing_ok=True)
            raise dg.Failure(str(error), allow_retries=False) from None
        except (sqlite3.Error, OSError) as error:
            raise dg.Failure(
                f"{campaign.ledger}: intake stopped: {error}; run it again", allow_retries=False
            ) from error
        for line in report.lines():
            context.log.info(line)
        context.add_asset_metadata(_metadata(report, added))

    return intake


def _metadata(report: IntakeReport, added: int) -> dict[str, object]:
    notes = list(report.notes)
    if report.structures > MOST_PARTITIONS:
        notes.append(
            f"{report.structures} structures are more than Dagster's web page is made for ({MOST_PARTITIONS}): split"
            " the CSV into several campaigns"
        )
    found: dict[str, object] = {
        "csv": dg.MetadataValue.path(str(report.csv)),
        "bytes": report.size,
        "rows": report.rows,
        "taken_in": report.taken,
        "known_before": report.known,
        "rejected": report.rejected,
        "structures": report.structures,
        "partition_keys_added": added,
        "same_calculation_as_another": report.repeats,
    }
    if report.first_rejections:
        found["first_rejected_rows"] = table(
            [("row", "int"), ("line", "int"), ("reason", "string")],
            [(row.orig_index, row.line, row.reason) for row in report.first_rejections],
        )
    if report.repeat_groups:
        found["same_calculation_rows"] = dg.MetadataValue.md(
            "\n".join("- " + " = ".join(map(str, group)) for group in report.repeat_groups)
        )
    if notes:
        found["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in notes))
    return found
