"""Campaigns whose reports are looked at, and reading a report back."""

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Outcome
from oact_dagster.ledger.store import Ledger
from oact_dagster.quality.rules import Severity
from oact_dagster.report.writer import write_report
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.quality import Quality, RuleSummary
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.ledger.samples import claim, ending, result, structure

NASTY = '</script><script>alert("1")</script><img src=x onerror=alert(2)> $data &amp; \u2028 \x00'
"""A message that would run in a page that does not escape it."""


def rule(
    name: str, severity: Severity, checked: int, failed: int, worst: Sequence[tuple[int, str]]
) -> RuleSummary:
    """What a rule found."""
    return RuleSummary(name, severity, "what must hold", checked, failed, worst)


def quality_of(failed: Mapping[int, tuple[str, ...]], rules: Sequence[RuleSummary]) -> Quality:
    """What all rules found for the four results of :func:`small`."""
    return Quality(judged=4, failed=failed, rules=rules, models={}, judged_for="")


def small(folder: Path, settings: Mapping[str, Any] | None = None) -> Campaign:
    """Seven structures: 0, 1, 2, 3 completed, 4 failed after two attempts, 5 timed out, 6 to be run.

    Energies and gradients are such that an order by letters is another one than that by numbers.
    """
    campaign = write_campaign(folder, 7, folder / "orca", settings=settings)
    elements = ("U;O;O", "Np;O;O", "C;H;H;H;H", "U;Cl;Cl", "Pu;O", "U;O;O;N;N", "Th;O;O")
    with Ledger(campaign.ledger, create=True) as ledger:
        ledger.add_structures(
            structure(index, elements=one, natoms=one.count(";") + 1, charge=0)
            for index, one in enumerate(elements)
        )
        ledger.open_batch("batch", Owner.this_process())
        for index, (energy, cycles, wall) in enumerate(
            ((-9.5, 9, 60.0), (-100.25, 100, 7200.0), (-40.5, 11, 59.96), (-1000.125, 20, 1800.0))
        ):
            found = result(
                final_energy=energy, scf_steps=cycles, wall_time=wall, max_forces=0.001 * (index + 1)
            )
            attempt(ledger, index, Outcome.COMPLETED, result=found, elapsed=wall + 1, host=f"node{index}")
        for message in ("first", NASTY):
            failure = {"failure_class": "memory", "message": message, "elapsed": 3600.0, "host": "node9"}
            attempt(ledger, 4, Outcome.FAILED, **failure)
        attempt(ledger, 5, Outcome.TIMEOUT, message="no output for 21600 s", elapsed=21600.0, host="node9")
    return campaign


def attempt(ledger: Ledger, index: int, outcome: Outcome, **changes: Any) -> None:
    [claimed] = claim(ledger, [index], settings_hash="s1")
    ledger.mark_submitted({claimed.token: "17"}, now=1001.0)
    ledger.mark_running([claimed.token], now=1002.0)
    assert ledger.record([ending(claimed.token, outcome, n_cores=4, **changes)]) == {claimed.token}


def large(folder: Path, structures: int) -> Campaign:
    """Completed and failed structures by the thousand, each with an attempt."""
    campaign = write_campaign(folder, 1, folder / "orca")
    with Ledger(campaign.ledger, create=True) as ledger, ledger.file.transaction() as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
            " INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry, final_energy,"
            " max_forces, scf_steps, wall_time, n_cores, error_message) SELECT i, 'U;O;O', 3,"
            " CASE WHEN i % 10 THEN 'completed' ELSE 'failed' END, 0, 1, '',"
            " CASE WHEN i % 10 THEN -(i * 7919 % 100003) - 0.5 END, CASE WHEN i % 10 THEN 0.001 END,"
            " CASE WHEN i % 10 THEN 5 + i % 90 END, CASE WHEN i % 10 THEN 60 END, 4,"
            " CASE WHEN i % 10 = 0 THEN 'message ' || i END FROM n",
            (structures,),
        )
        db.execute(
            "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, host, outcome,"
            " claimed_at, started_at, ended_at, elapsed, n_cores) SELECT id, 1, id, 'closed', 'batch', 'local',"
            " 'node' || (id % 40), status, 1000.0, 1000.0 + id, 2000.0 + id, 61, 4 FROM structures"
        )
    return campaign


def written(campaign: Campaign, target: Path | None = None, quality: Quality | None = None) -> Path:
    """The campaign's report."""
    with open_reader(campaign.ledger) as ledger:
        return write_report(campaign, ledger, target, quality=quality, now=5000.0).path


def data_of(report: Path) -> Any:
    """The data that a report holds, unpacked."""
    [letters] = re.findall(
        r'<script type="application/octet-stream" id="data">([A-Za-z0-9+/=]*)</script>',
        report.read_text(encoding="utf-8"),
    )
    return json.loads(gzip.decompress(base64.b64decode(letters, validate=True)))


def column_of(data: Any, table: str, key: str) -> list[Any]:
    """The values of a column, row by row."""
    [found] = [one for one in data["tables"] if one["key"] == table]
    [column] = [one for one in found["columns"] if one["key"] == key]
    if column["kind"] == "word":
        return [None if code < 0 else column["words"][code] for code in column["codes"]]
    if not column["steps"]:
        return list(column["values"])
    values, last = [], 0
    for step in column["values"]:
        last += step or 0
        values.append(None if step is None else last)
    return values
