"""Data for the pictures and tables of a whole campaign, streamed from its ledger."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from oact_dagster.attempts.disk_estimate import Sizes
from oact_dagster.errors import InputRefused
from oact_dagster.ledger.figures import Origin
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import (
    FAILED_OUTCOMES,
    FAILED_STATUSES,
    EndedAttempt,
    Outcome,
    Status,
    StructureLine,
)
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.metals import main_metal
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.overview import Overview, overview_of
from oact_dagster.status.summary import Numbers, ResultNumbers, Summary

POINTS: Final = 200
"""Largest number of points of the progress over time."""

NO_METAL: Final = "none"

UNKNOWN_CLASS: Final = "unknown"

_BAD: Final = (*FAILED_OUTCOMES, Outcome.LOST)
_CONFIDENCE: Final = 1.96
"""Number of standard deviations that contain 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class CompletionCurve:
    """Number of ended attempts over time. All arrays have shape (n,), with n at most :data:`POINTS`."""

    times: Numbers
    """Unix times, s, ascending."""
    completed: Numbers
    """Attempts completed by then."""
    failed: Numbers
    """Attempts that failed or timed out by then."""


@dataclass(frozen=True, slots=True)
class MetalCount:
    """Structures with one metal."""

    metal: str
    """Element symbol, or :data:`NO_METAL`."""
    structures: int
    completed: int
    failed: int
    """Structures with status failed or timeout."""


@dataclass(frozen=True, slots=True)
class HostCount:
    """Outcomes of the attempts on one host."""

    host: str
    outcomes: Mapping[Outcome, int]

    @property
    def bad(self) -> int:
        """Attempts that failed, timed out or were lost."""
        return sum(self.outcomes.get(outcome, 0) for outcome in _BAD)

    @property
    def judged(self) -> int:
        """Attempts without those that the user cancelled."""
        return self.bad + self.outcomes.get(Outcome.COMPLETED, 0)

    @property
    def badness(self) -> float:
        """Smallest share of bad attempts at 95 % confidence, 0 to 1.

        One bad attempt of one says less about a host than fifty of sixty. This is the lower bound of Wilson's score
        interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927)).
        """
        if not self.bad:
            return 0.0
        n, share, z2 = self.judged, self.bad / self.judged, _CONFIDENCE**2
        spread = _CONFIDENCE * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return (share + z2 / (2 * n) - spread) / (1 + z2 / n)


@dataclass(frozen=True, slots=True)
class CampaignFigures:
    """Figures of a campaign at one moment."""

    overview: Overview
    summary: Summary
    progress: CompletionCurve | None
    """None if no attempt has ended."""
    failed_attempts: tuple[tuple[str, int], ...]
    """``(failure class, attempts)`` of all failed and timed-out attempts, including those of structures completed
    later; most frequent first."""
    metals: tuple[MetalCount, ...]
    """Most frequent first; structures without a metal last."""
    hosts: tuple[HostCount, ...]
    """Worst first."""
    basis_functions: Numbers
    """Number of basis functions of completed structures with a wall time, shape (m,)."""
    wall_times: Numbers
    """Wall times of the same structures, s, shape (m,)."""
    origins: tuple[Origin, ...]
    """What the results were computed with; most frequent first."""

    @property
    def good_core_hours(self) -> float:
        """Core-hours of the attempts that gave results."""
        return self.overview.spent.get(Outcome.COMPLETED, 0.0)

    @property
    def lost_core_hours(self) -> float:
        """Core-hours of all other attempts."""
        return sum(
            hours for outcome, hours in self.overview.spent.items() if outcome is not Outcome.COMPLETED
        )

    @property
    def settings_hashes(self) -> Counter[str | None]:
        """Number of completed structures by the hash of their input's settings (None if unknown)."""
        found: Counter[str | None] = Counter()
        for origin in self.origins:
            found[origin.settings_hash] += origin.structures
        return found


def campaign_figures(campaign: Campaign, ledger: LedgerReader, now: float | None = None) -> CampaignFigures:
    """Read the figures of a whole campaign. Rows are streamed; 80 bytes are kept of each result.

    ``now`` is a Unix time in s.

    Raises:
        LedgerError: The ledger cannot be read, or a row has an unknown status, which is named.
    """
    overview = overview_of(ledger, campaign.retry, retry_key=campaign.retry_key(), metrics=False, now=now)
    structures = _Structures(campaign)
    for line in ledger.structures.lines():
        structures.add(line)
    numbers = structures.numbers.arrays()
    spent = dict(overview.spent)
    if Outcome.COMPLETED not in spent and numbers["core_hours"].size:
        # An old ledger has no attempts; its results have the costs.
        spent[Outcome.COMPLETED] = float(numbers["core_hours"].sum())
    attempts = _Attempts(ledger.history.ended_attempts())
    return CampaignFigures(
        overview=replace(overview, spent=spent),
        summary=Summary(
            counts=overview.counts,
            running_started=overview.running_started,
            held=overview.held,
            rejected=overview.rejected,
            engines=overview.engines,
            failures=overview.failures,
            spent=spent,
            **numbers,
        ),
        progress=attempts.progress(),
        failed_attempts=tuple(sorted(attempts.classes.items(), key=lambda item: (-item[1], item[0]))),
        metals=structures.by_metal(),
        hosts=attempts.by_host(),
        basis_functions=np.frombuffer(structures.basis_functions, dtype=np.float64),
        wall_times=np.frombuffer(structures.wall_times, dtype=np.float64),
        origins=tuple(ledger.figures.count_by_origin()),
    )


class _Structures:
    """Counts over structures, which are added one by one."""

    def __init__(self, campaign: Campaign) -> None:
        self.numbers = ResultNumbers()
        self.basis_functions = array("d")
        self.wall_times = array("d")
        self._sizes = Sizes(campaign)
        self._without_basis: set[frozenset[str]] = set()
        self._metals: dict[str, list[int]] = {}

    def add(self, line: StructureLine) -> None:
        symbols = line.elements.split(";") if line.elements else []
        counts = self._metals.setdefault(main_metal(symbols) or NO_METAL, [0, 0, 0])
        counts[0] += 1
        if line.status is not Status.COMPLETED:
            counts[2] += line.status in FAILED_STATUSES
            return
        counts[1] += 1
        self.numbers.add(
            line.final_energy, line.natoms, line.max_forces, line.scf_steps, line.wall_time, line.n_cores
        )
        if line.wall_time is None:
            return
        functions = line.n_basis_functions or self._functions(symbols, line.multiplicity)
        if functions:
            self.basis_functions.append(functions)
            self.wall_times.append(line.wall_time)

    def _functions(self, symbols: list[str], multiplicity: int) -> int | None:
        """Return the number of basis functions, or None if the settings have no basis for an element."""
        kinds = frozenset(symbols)
        if kinds in self._without_basis:
            return None
        try:
            return self._sizes.of(symbols, multiplicity).basis_functions
        except InputRefused:
            self._without_basis.add(kinds)
            return None

    def by_metal(self) -> tuple[MetalCount, ...]:
        found = [MetalCount(metal, *counts) for metal, counts in self._metals.items()]
        return tuple(sorted(found, key=lambda one: (one.metal == NO_METAL, -one.structures, one.metal)))


class _Attempts:
    """Counts over the attempts that have ended; 8 bytes are kept of each."""

    def __init__(self, lines: Iterable[EndedAttempt]) -> None:
        self.classes: Counter[str] = Counter()
        self._hosts: dict[str, Counter[Outcome]] = {}
        self._completed = array("d")
        self._failed = array("d")
        for line in lines:
            if line.host is not None:
                self._hosts.setdefault(line.host, Counter())[line.outcome] += 1
            if line.outcome is Outcome.COMPLETED:
                times = self._completed
            elif line.outcome in FAILED_OUTCOMES:
                times = self._failed
                unnamed = FailureClass.TIMEOUT if line.outcome is Outcome.TIMEOUT else UNKNOWN_CLASS
                self.classes[line.failure_class or unnamed] += 1
            else:
                continue
            times.append(line.ended_at)

    def by_host(self) -> tuple[HostCount, ...]:
        found = [HostCount(host, outcomes) for host, outcomes in self._hosts.items()]
        return tuple(sorted(found, key=lambda one: (-one.badness, -one.judged, one.host)))

    def progress(self) -> CompletionCurve | None:
        completed = np.sort(np.frombuffer(self._completed, dtype=np.float64))
        failed = np.sort(np.frombuffer(self._failed, dtype=np.float64))
        times = np.union1d(completed, failed)
        if not times.size:
            return None
        if times.size > POINTS:
            times = np.linspace(times[0], times[-1], POINTS)
        return CompletionCurve(
            times=times,
            completed=np.searchsorted(completed, times, side="right").astype(np.float64),
            failed=np.searchsorted(failed, times, side="right").astype(np.float64),
        )
