"""The dashboard's text: the format that groups know, and what it adds."""

from collections import Counter
from pathlib import Path

import numpy as np

from oact_dagster.cli.dashboard_text import dashboard_lines
from oact_dagster.execution.summary import Summary
from oact_dagster.ledger.states import Status

EXPECTED = """\
================================================================================
                            Workflow Status Summary
================================================================================

Status          Count    Percent
-----------------------------------------
to_run           8500      85.0%
running          1200      12.0%
completed         250       2.5%
failed             30       0.3%
timeout            20       0.2%
-----------------------------------------
TOTAL           10000     100.0%

Completion: [█░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 2.5% (250/10000)
running 1200 (700 queued)
held 2 (run only after `oact release`, or when named)
rejected rows 4 (in no count above; `oact dashboard --show-rejected` says why)
Failures by class: scf_not_converged 30, timeout 20

================================================================================
                     Computational Metrics (Completed Jobs)
================================================================================

Max Forces (Eh/Bohr):
  Mean:   0.001234
  Median: 0.001234
  Min:    0.000012
  Max:    0.002456

SCF Steps:
  Mean:   12.0
  Median: 12
  Min:    5
  Max:    19

Wall Time (seconds):
  Mean:   196.4
  Median: 196.4
  Min:    45.3
  Max:    347.5
  Total:  49100.0 (13.64 hours)

Cores Used:
  Mean:   4.0
  Min:    4
  Max:    4
  Total core-hours: 54.56

Total jobs with metrics: 250
Jobs with timing data: 250
"""


def summary(**changes: object) -> Summary:
    halves = np.repeat([0.0, 1.0], 125)
    walls = 45.3 + halves * 302.2
    values: dict[str, object] = {
        "counts": {
            Status.TO_RUN: 8500,
            Status.RUNNING: 1200,
            Status.COMPLETED: 250,
            Status.FAILED: 30,
            Status.TIMEOUT: 20,
        },
        "running_started": 500,
        "held": 2,
        "rejected": 4,
        "energies": -100 - halves,
        "energies_per_atom": -10 - halves,
        "max_forces": 0.000012 + halves * 0.002444,
        "scf_steps": 5 + halves * 14,
        "wall_times": walls,
        "n_cores": np.full(250, 4.0),
        "core_hours": walls * 4 / 3600,
        "engines": Counter({"ORCA": 250}),
        "failures": [("scf_not_converged", 30), ("timeout", 20)],
    }
    return Summary(**(values | changes))  # type: ignore[arg-type]


def text(found: Summary, encoding: str | None = None) -> str:
    return "".join(f"{line}\n" for line in dashboard_lines(found, encoding))


def test_the_format() -> None:
    assert text(summary()) == EXPECTED


def test_results_that_are_not_orcas_are_called_so() -> None:
    assert "NOT ORCA" not in text(summary())
    assert "NOT ORCA: 250 of 250 results" in text(summary(engines=Counter({"x (NOT ORCA)": 250})))


def test_ready_is_shown_where_an_old_ledger_has_it() -> None:
    assert "ready" not in EXPECTED
    assert "ready               7" in text(summary(counts={Status.READY: 7}))


def test_an_empty_ledger() -> None:
    none = np.zeros(0)
    found = Summary({}, 0, 0, 0, none, none, none, none, none, none, none, Counter(), [])
    shown = text(found)
    assert "TOTAL               0       0.0%" in shown and "0.0% (0/0)" in shown
    assert shown.endswith("No completed jobs yet\n")


def test_every_terminal_can_show_it(tmp_path: Path) -> None:
    text(summary(), "ascii").encode("ascii")
    assert "[#-------" in text(summary(), "latin-1")
