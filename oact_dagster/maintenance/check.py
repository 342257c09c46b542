"""Looking at a whole campaign before it runs: what would be refused, what is doubtful, what it will need.

Every structure's input is rendered by the writer that renders it for a run, and thrown away: what is refused here is
what a run would refuse. Nothing is written, and memory does not grow with the CSV.
"""

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import Final

import psutil

from oact_dagster.attempts.disk_estimate import (
    SAMPLED_FOLDERS,
    MeasuredFolder,
    Model,
    Room,
    Size,
    Sizes,
    documented_model,
    measure,
    measured_model,
    room_at,
)
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.input_text import input_settings, input_text
from oact_dagster.attempts.job_layout import jobs_dir_refused
from oact_dagster.attempts.setup_hook import load_setup_func
from oact_dagster.errors import (
    CampaignError,
    CsvError,
    EngineError,
    GeometryError,
    InputRefused,
    IntakeRefused,
    LauncherError,
    StructureError,
)
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.comparison import Comparison
from oact_dagster.intake.csv_rows import CsvFile, CsvRow
from oact_dagster.intake.identity import check_names
from oact_dagster.intake.intake import MANY_STRUCTURES, tell_nobody
from oact_dagster.intake.rows import check_row, record_of, whole_number
from oact_dagster.launchers.parsl.config import require_parsl
from oact_dagster.launchers.parsl.factory import workers_refused
from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Rejection, Status, StructureRecord
from oact_dagster.maintenance.job_requests import JobRequests
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.writer import check_settings, estimate_maxcore
from oact_dagster.orca.structure import Structure
from oact_dagster.schedulers.examination import examine_jobs
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.staleness import stale_results

_EXAMPLES: Final = 3
"""Structures that are kept of each group."""

HASHES_KEPT: Final = 200_000
"""Structures among which repeats are looked for: some 15 MB, and twice what a campaign should have."""

STRUCTURES_AT_ONCE: Final = 500
"""Structures of a ledger that are held in memory."""

CheckProgress = Callable[[int, int], None]
"""Called now and then with what is done and what there is in all: bytes of the CSV, or structures of the ledger."""


@dataclass(frozen=True, slots=True)
class Example:
    """A structure of a group."""

    orig_index: int
    line: int | None
    """Line of the CSV on which its row begins; None where the structure comes from the ledger."""
    message: str


@dataclass(slots=True)
class Group:
    """Structures that something is said of."""

    what: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Groups:
    """Structures by what is said of them."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def add(self, what: str, example: Example) -> None:
        """Count a structure, and keep it where it is among the first."""
        group = self._groups.setdefault(what, Group(what))
        group.count += 1
        if len(group.examples) < _EXAMPLES:
            group.examples.append(example)

    def add_counted(self, what: str, count: int, first: Sequence[Example]) -> None:
        """Add structures that were counted elsewhere, with the first of them."""
        if count:
            self._groups[what] = Group(what, count, list(first[:_EXAMPLES]))

    @property
    def largest_first(self) -> list[Group]:
        """The groups, the largest one first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)


@dataclass(frozen=True, slots=True)
class Atoms:
    """How many atoms the structures have."""

    smallest: int
    median: float
    largest: int


@dataclass(frozen=True, slots=True)
class Largest:
    """The structure with the most of something."""

    orig_index: int
    natoms: int
    amount: int


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """What the calculations will take, one attempt for each structure. An estimate."""

    origin: str
    """What it is estimated from."""
    bytes_in_all: float
    files_in_all: float
    """Files and folders."""
    bytes_to_come: float
    """Of structures that are not completed."""
    files_to_come: float
    room: Room | None
    """What is free in the jobs folder's file system; None where that cannot be told."""

    @property
    def fits(self) -> bool:
        """Whether what is to come has room."""
        if self.room is None:
            return True
        inodes = self.room.inodes
        return self.bytes_to_come <= self.room.bytes and (inodes is None or self.files_to_come <= inodes)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the ledger holds already."""

    counts: dict[Status, int]
    rejected: int
    stale: int
    """Results that were made with other settings than the present ones."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. Nothing is wrong where ``refused`` and ``blocking`` are empty."""

    source: Path
    """The CSV, or the ledger where the CSV is not there."""
    rows: int
    """Structures and refused rows."""
    refused: list[Group]
    """By the class of the problem; these structures will not be run, the others will."""
    warnings: list[Group]
    """By what is said."""
    blocking: list[str]
    """What keeps the whole campaign from being run, a line each."""
    notes: list[str]
    """What should be known, a line each."""
    repeats: int
    """Structures that are the same calculation as an earlier one."""
    atoms: Atoms | None
    """Of the structures that can be run, as all that follows; None where there is none."""
    closed_shells: int
    open_shells: int
    largest: Largest | None
    """By number of basis functions."""
    memory: Largest | None
    """By ``%maxcore`` times cores, MB."""
    disk: DiskNeed
    kept: Kept | None
    """None where there is no ledger yet."""

    @property
    def refused_structures(self) -> int:
        """How many structures would be refused."""
        return sum(group.count for group in self.refused)

    @property
    def runnable(self) -> int:
        """How many structures can be run."""
        return self.rows - self.refused_structures

    @property
    def good(self) -> bool:
        """Whether nothing is refused and nothing blocks."""
        return not self.refused and not self.blocking


def check_campaign(campaign: Campaign, progress: CheckProgress | None = None) -> Report:
    """Look at a whole campaign; nothing is written, and no ledger or folder is made.

    Args:
        campaign: its settings.
        progress: see :data:`CheckProgress`.
    """
    return _Check(campaign, progress or tell_nobody).run()


class _Check:
    def __init__(self, campaign: Campaign, progress: CheckProgress) -> None:
        self._campaign = campaign
        self._progress = progress
        self._settings = input_settings(campaign)
        self._sizes = Sizes(campaign)
        self._model = documented_model(campaign)
        self._blocking: list[str] = []
        self._notes: list[str] = []
        self._refused, self._warnings = Groups(), Groups()
        self._rows = self._repeats = self._closed = self._open = 0
        self._seen: set[int] = set()
        self._atoms: Counter[int] = Counter()
        self._largest: Largest | None = None
        self._memory: Largest | None = None
        self._bytes = self._files = self._bytes_done = self._files_done = 0.0
        self._kept: Kept | None = None
        self._requests = JobRequests(campaign)

    def run(self) -> Report:
        self._look_at_settings()
        with ExitStack() as stack:
            ledger = self._open_ledger(stack)
            if ledger is not None:
                self._look_at_ledger(ledger)
            source = self._campaign.csv
            if ledger is not None and (source is None or not source.exists()):
                why = "csv is null" if source is None else f"{source} is not there"
                source = ledger.path
                self._notes.append(f"{why}: looked at the ledger's structures")
                self._look_for_csv()
                self._read_ledger(ledger)
            else:
                source = self._campaign.csv_file
                self._read_csv(ledger)
        disk = self._disk_need()
        self._look_at_machine(disk)
        self._look_at_scheduler()
        return Report(
            source=source,
            rows=self._rows,
            refused=self._refused.largest_first,
            warnings=self._warnings.largest_first,
            blocking=self._blocking,
            notes=self._notes,
            repeats=self._repeats,
            atoms=_atoms_of(self._atoms),
            closed_shells=self._closed,
            open_shells=self._open,
            largest=self._largest,
            memory=self._memory,
            disk=disk,
            kept=self._kept,
        )

    # --- settings, engine, ledger ----------------------------------------------------------------------------

    def _look_at_settings(self) -> None:
        try:
            engine = find_engine(self._campaign)
        except EngineError as error:
            self._blocking.append(str(error))
        else:
            if not Path(engine.command[0]).exists():
                self._notes.append(
                    f"{self._campaign.orca_said}: {engine.command[0]}: is not seen from this machine; whether"
                    " it is there on the nodes is not checked"
                )
        self._notes.extend(self._campaign.notices)
        if self._campaign.launcher.kind_facts.uses_workers:
            self._look_at_workers()
        if refused := jobs_dir_refused(self._campaign.jobs_dir):
            self._blocking.append(refused)
        try:
            check_settings(self._settings, ())
        except InputRefused as error:
            self._blocking.append(f"{self._campaign.file}: orca: {error}")
        try:
            _check_setup_func(self._campaign)
        except CampaignError as error:
            self._blocking.append(str(error))

    def _look_at_workers(self) -> None:
        try:
            require_parsl()
        except LauncherError as error:
            self._blocking.append(f"{self._campaign.file}: {error}")
        if refused := workers_refused(self._campaign):
            # No reason to refuse it here: it may be checked on a login node, and run in an allocation.
            self._notes.append(f"on this machine it would not be run: {refused}")

    def _open_ledger(self, stack: ExitStack) -> LedgerReader | None:
        path = self._campaign.ledger
        if kind := network_filesystem(path):
            self._notes.append(
                f"the ledger {path} lies on a network file system ({kind}): it works without WAL there, more slowly, "
                "and a local disk is the better place"
            )
        # An empty file is one that the first intake fills.
        if not path.exists() or not path.stat().st_size:
            return None
        try:
            return stack.enter_context(open_reader(path))
        except LedgerError as error:
            self._blocking.append(str(error))
        return None

    def _look_at_ledger(self, ledger: LedgerReader) -> None:
        try:
            check_names(self._campaign, ledger)
        except LedgerError as error:
            self._blocking.append(str(error))
        try:
            check_level_of_theory(ledger, self._campaign.level_of_theory())
        except LedgerError as error:
            self._blocking.append(str(error))
        self._kept = Kept(
            ledger.figures.count_by_status(),
            ledger.intake.count_rejections(),
            stale_results(self._campaign, ledger),
        )
        self._model = self._model_from(ledger, self._kept.counts.get(Status.COMPLETED, 0))

    def _model_from(self, ledger: LedgerReader, completed: int) -> Model:
        """The disk model from up to ``SAMPLED_FOLDERS`` finished folders, spread over the whole campaign."""
        step = max(1, completed // SAMPLED_FOLDERS)
        measured: list[MeasuredFolder] = []
        for number, row in enumerate(ledger.history.completed()):
            if len(measured) >= SAMPLED_FOLDERS:
                break
            if number % step or not row["job_dir"] or not row["elements"]:
                continue
            try:
                size = self._sizes.of(row["elements"].split(";"), row["spin"] or 1)
            except InputRefused:
                continue
            if (found := measure(Path(row["job_dir"]), size.elements)) is not None:
                measured.append(found)
        return measured_model(self._campaign, measured)

    # --- structures --------------------------------------------------------------------------------------------

    def _look_for_csv(self) -> None:
        """Say what a run would say of a CSV that is not there: it is taken in again before each one."""
        if self._campaign.csv is None:
            return
        try:
            CsvFile(self._campaign.csv).close()
        except CsvError as error:
            self._blocking.append(str(error))

    def _read_csv(self, ledger: LedgerReader | None) -> None:
        completed = _Completed(ledger)
        with ExitStack() as stack:
            known_rows: Iterator[tuple[int, str, str | None]] = iter(())
            if ledger is not None:
                # By a second reader, as in `_structures`.
                known_rows = stack.enter_context(open_reader(ledger.path)).intake.known_rows()
            try:
                csv = stack.enter_context(CsvFile(self._campaign.csv_file))
                columns = Columns.of(self._campaign, csv.columns)
                compared = Comparison(columns, known_rows)
                for row in csv.rows():
                    if not row.number & 0xFF:
                        self._progress(row.offset, csv.size)
                    self._take_row(row, columns, done=row.number in completed)
                    compared.add(row)
                compared.end()
                self._progress(csv.size, csv.size)
            except (CsvError, IntakeRefused) as error:
                self._blocking.append(str(error))
                return
        if compared.changed:
            self._blocking.append(compared.told(self._campaign.csv_file))
        elif not self._rows:
            self._blocking.append(f"{self._campaign.csv}: has a header and no rows")

    def _take_row(self, row: CsvRow, columns: Columns, *, done: bool) -> None:
        found = check_row(row, columns)
        if isinstance(found, Rejection):
            self._rows += 1
            self._refused.add(_kind(row, columns), Example(row.number, row.line, found.reason))
            return
        repeated = self._is_repeated(found.calculation_hash)
        if self._take(record_of(found), row.line, done=done):
            self._repeats += repeated

    def _is_repeated(self, calculation_hash: str) -> bool:
        value = int(calculation_hash, 16)
        if value in self._seen:
            return True
        if len(self._seen) < HASHES_KEPT:
            self._seen.add(value)
        return False

    def _read_ledger(self, ledger: LedgerReader) -> None:
        assert self._kept is not None
        total = sum(self._kept.counts.values())
        for record in _structures(ledger):
            if not self._rows & 0xFF:
                self._progress(self._rows, total)
            self._take(record, None, done=record.status is Status.COMPLETED)
        self._progress(total, total)
        self._repeats = ledger.intake.same_calculations(0)[0]
        self._rows += self._kept.rejected
        self._refused.add_counted(
            "row that the intake rejected",
            self._kept.rejected,
            [Example(row.orig_index, row.line, row.reason) for row in ledger.intake.rejections(_EXAMPLES)],
        )

    def _take(self, record: StructureRecord, line: int | None, *, done: bool) -> bool:
        """Render a structure's input and count it; tell whether it can be run."""
        self._rows += 1
        try:
            structure = Structure(parse_geometry(record.geometry), record.charge, record.multiplicity - 1)
            input_text(self._campaign, record, None, structure=structure, settings=self._settings)
            size = self._sizes.of(structure.geometry.symbols, record.multiplicity)
            warnings = check_settings(self._settings, structure.elements)
        except (GeometryError, StructureError, InputRefused) as error:
            self._refused.add(error.kind, Example(record.orig_index, line, " ".join(str(error).split())))
            return False
        for warning in warnings:
            self._warnings.add(warning, Example(record.orig_index, line, structure.formula()))
        self._atoms[size.natoms] += 1
        self._closed += record.multiplicity == 1
        self._open += record.multiplicity != 1
        self._note_largest(record, size)
        needed, files = self._model.bytes_of(size), self._model.files_of(size)
        self._bytes += needed
        self._files += files
        if done:
            self._bytes_done += needed
            self._files_done += files
        return True

    def _note_largest(self, record: StructureRecord, size: Size) -> None:
        functions = size.basis_functions
        larger = self._largest is None or functions > self._largest.amount
        if larger:
            self._largest = Largest(record.orig_index, size.natoms, functions)
        maxcore = self._campaign.orca.maxcore or estimate_maxcore(functions, open_shell=size.spins == 2)
        self._requests.add(size.natoms, maxcore)
        memory = maxcore * input_settings(self._campaign, size.natoms).n_cores
        # Of structures that need the same, as all small ones do, the largest is named.
        if self._memory is None or memory > self._memory.amount or (larger and memory == self._memory.amount):
            self._memory = Largest(record.orig_index, size.natoms, memory)

    # --- what it needs ---------------------------------------------------------------------------------------------

    def _disk_need(self) -> DiskNeed:
        return DiskNeed(
            origin=self._model.origin,
            bytes_in_all=self._bytes,
            files_in_all=self._files,
            bytes_to_come=self._bytes - self._bytes_done,
            files_to_come=self._files - self._files_done,
            room=room_at(self._campaign.jobs_dir),
        )

    def _look_at_machine(self, disk: DiskNeed) -> None:
        if not disk.fits:
            self._notes.append(
                f"the file system of {self._campaign.jobs_dir} has probably no room for what is to come"
            )
        launcher = self._campaign.launcher
        if self._memory is not None:
            if launcher.memory_mb is not None and self._memory.amount > launcher.memory_mb:
                self._notes.append(
                    f"structure {self._memory.orig_index} may need {self._memory.amount} MB, and launcher.memory_mb is "
                    f"{launcher.memory_mb}"
                )
            at_once, there = launcher.max_workers * self._memory.amount, psutil.virtual_memory().total >> 20
            if launcher.on_this_machine and at_once > there:
                self._notes.append(
                    f"launcher.max_workers {launcher.max_workers} of the largest structures at once may need {at_once} "
                    f"MB, and this machine has {there}"
                )
        if self._rows > MANY_STRUCTURES:
            self._notes.append(
                f"{self._rows} structures: Dagster advises at most {MANY_STRUCTURES} partitions; split the CSV into "
                "several campaigns"
            )

    def _look_at_scheduler(self) -> None:
        launcher = self._campaign.launcher
        if launcher.kind_facts.program is not None and launcher.longest_job_s is None:
            self._notes.append(
                "launcher.max_job_timeout_s is not set: a retry after a timeout doubles the limit without end, and a"
                " job above the queue's limit never runs; set it to that"
            )
        for finding in examine_jobs(self._campaign.launcher, self._requests.wanted()):
            (self._blocking if finding.blocks else self._notes).append(finding.text)


class _Completed:
    """Which structures of the ledger are completed; asked for in rising order, so that none need be kept.

    Args:
        ledger: None where there is none yet.
    """

    def __init__(self, ledger: LedgerReader | None) -> None:
        self._indices = (
            iter(()) if ledger is None else (row["orig_index"] for row in ledger.history.completed())
        )
        self._next: int | None = next(self._indices, None)

    def __contains__(self, orig_index: int) -> bool:
        while self._next is not None and self._next < orig_index:
            self._next = next(self._indices, None)
        return self._next == orig_index


def _structures(ledger: LedgerReader) -> Iterator[StructureRecord]:
    """Every structure of a ledger in the order of the CSV; streamed."""
    # By a second reader: the first one may open the file anew when somebody begins to write to it.
    with open_reader(ledger.path) as other:
        indices = other.structures.indices()
        while chunk := list(islice(indices, STRUCTURES_AT_ONCE)):
            found = ledger.structures.of(chunk)
            yield from (found[index] for index in chunk if index in found)


def _kind(row: CsvRow, columns: Columns) -> str:
    """The class of the first thing that is wrong with a refused row."""
    numbers = []
    for place, what in ((columns.charge, "charge"), (columns.spin, "uhf")):
        value = 0 if place is None else whole_number(row.fields[place])
        if value is None:
            return f"{what} is not a whole number"
        numbers.append(value)
    try:
        Structure(parse_geometry(row.fields[columns.geometry].decode()), *numbers)
    except (GeometryError, StructureError) as error:
        return error.kind
    return "refused row"


def _check_setup_func(campaign: Campaign) -> None:
    """Import the user's own function where there is one.

    Raises:
        CampaignError: it cannot be imported.
    """
    # An import writes the module's bytecode beside it, and a check writes nothing.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        load_setup_func(campaign)
    finally:
        sys.dont_write_bytecode = before


def _atoms_of(counts: Counter[int]) -> Atoms | None:
    if not counts:
        return None
    return Atoms(min(counts), _median(counts), max(counts))


def _median(counts: Counter[int]) -> float:
    """The median of values that are counted."""
    values, passed = sorted(counts), list(accumulate(counts[value] for value in sorted(counts)))
    # The one in the middle, or the two of an even number.
    lower, upper = (values[bisect_right(passed, place // 2)] for place in (passed[-1] - 1, passed[-1]))
    return (lower + upper) / 2
