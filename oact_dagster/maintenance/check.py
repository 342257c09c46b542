"""Check a whole campaign before it runs: what would be refused, what is doubtful, what it will need.

Every structure's input is rendered by the same code as in a run and then discarded, so the check refuses exactly what
a run would refuse. Nothing is written, and memory does not grow with the CSV.
"""

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from oact_dagster.attempts.input_text import chemistry, input_settings, input_text
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
    LedgerError,
    StructureError,
)
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.comparison import Comparison
from oact_dagster.intake.csv_rows import CsvFile, CsvRow
from oact_dagster.intake.identity import check_names
from oact_dagster.intake.intake import MANY_STRUCTURES, ignore_progress
from oact_dagster.intake.rows import check_row, record_of, whole_number
from oact_dagster.launchers.parsl.config import require_parsl
from oact_dagster.launchers.parsl.factory import workers_refused
from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Rejection, Status, StructureRecord
from oact_dagster.maintenance.job_requests import JobRequests
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.writer import check_settings, estimate_maxcore
from oact_dagster.orca.structure import Structure
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.staleness import stale_results

_EXAMPLES: Final = 3
"""Structures kept as examples of each group."""

HASHES_KEPT: Final = 200_000
"""Structures among which repeats are found: about 15 MB, and twice the advised size of a campaign."""

STRUCTURES_AT_ONCE: Final = 500
"""Structures of a ledger held in memory."""

CheckProgress = Callable[[int, int], None]
"""Called at intervals with the part done and the total: bytes of the CSV, or structures in the ledger."""


@dataclass(frozen=True, slots=True)
class Example:
    """One structure of a group."""

    orig_index: int
    line: int | None
    """Line of the CSV on which the row begins; None if the structure comes from the ledger."""
    message: str


@dataclass(slots=True)
class Group:
    """Structures with the same problem or warning."""

    what: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Groups:
    """Structures grouped by problem or warning."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def add(self, what: str, example: Example) -> None:
        """Count a structure; the first few of each group are kept as examples."""
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
        """The groups in order of size, largest first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)


@dataclass(frozen=True, slots=True)
class Atoms:
    """The distribution of the number of atoms."""

    smallest: int
    median: float
    largest: int


@dataclass(frozen=True, slots=True)
class Largest:
    """The structure that needs the most of something."""

    orig_index: int
    natoms: int
    amount: int


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """Estimated disk use of the calculations, with one attempt for each structure."""

    origin: str
    """What the estimate is based on."""
    bytes_in_all: float
    files_in_all: float
    """Files and folders."""
    bytes_to_come: float
    """Of structures that are not completed."""
    files_to_come: float
    room: Room | None
    """Free space on the file system of the jobs folder; None if unknown."""

    @property
    def fits(self) -> bool:
        """Whether there is room for the remaining calculations."""
        if self.room is None:
            return True
        inodes = self.room.inodes
        return self.bytes_to_come <= self.room.bytes and (inodes is None or self.files_to_come <= inodes)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the ledger already holds."""

    counts: dict[Status, int]
    rejected: int
    stale: int
    """Results computed with settings other than the present ones."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check. Nothing is wrong if ``refused`` and ``blocking`` are empty."""

    source: Path
    """The CSV, or the ledger if there is no CSV."""
    rows: int
    """Structures and refused rows."""
    refused: list[Group]
    """Structures that will not run, by class of problem; all others will."""
    warnings: list[Group]
    blocking: list[str]
    """One line for each problem that keeps the whole campaign from running."""
    notes: list[str]
    """One line for each thing the user should know."""
    repeats: int
    """Structures that are the same calculation as an earlier one."""
    atoms: Atoms | None
    """Like all fields below, only of structures that can be run; None if there are none."""
    closed_shells: int
    open_shells: int
    largest: Largest | None
    """By number of basis functions."""
    memory: Largest | None
    """By ``%maxcore`` times cores, MB."""
    disk: DiskNeed
    kept: Kept | None
    """None if there is no ledger yet."""

    @property
    def refused_structures(self) -> int:
        """The number of structures that would be refused."""
        return sum(group.count for group in self.refused)

    @property
    def runnable(self) -> int:
        """The number of structures that can be run."""
        return self.rows - self.refused_structures

    @property
    def good(self) -> bool:
        """Whether nothing is refused and nothing blocks."""
        return not self.refused and not self.blocking


def check_campaign(campaign: Campaign, progress: CheckProgress | None = None) -> Report:
    """Check a whole campaign without writing anything: no ledger or folder is created."""
    return _Check(campaign, progress or ignore_progress).run()


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
        self._check_settings()
        with ExitStack() as stack:
            ledger = self._open_ledger(stack)
            if ledger is not None:
                self._check_ledger(ledger)
            source = self._campaign.csv
            if ledger is not None and (source is None or not source.exists()):
                why = "csv is null" if source is None else f"{source} does not exist"
                self._notes.append(f"{why}: checked the ledger's structures instead")
                if source is not None:
                    # A run reads a CSV again before it starts; report what it would say if the file is missing.
                    with self._blocked_by(CsvError):
                        CsvFile(source).close()
                source = ledger.path
                self._read_ledger(ledger)
            else:
                source = self._campaign.csv_file
                self._read_csv(ledger)
        disk = self._disk_need()
        self._check_machine(disk)
        self._check_scheduler()
        return Report(
            source=source,
            rows=self._rows,
            refused=self._refused.largest_first,
            warnings=self._warnings.largest_first,
            blocking=self._blocking,
            notes=self._notes,
            repeats=self._repeats,
            atoms=Atoms(min(self._atoms), _median(self._atoms), max(self._atoms)) if self._atoms else None,
            closed_shells=self._closed,
            open_shells=self._open,
            largest=self._largest,
            memory=self._memory,
            disk=disk,
            kept=self._kept,
        )

    # --- settings, engine, ledger ----------------------------------------------------------------------------

    @contextmanager
    def _blocked_by(self, *errors: type[Exception], prefix: str = "") -> Iterator[None]:
        """Record any of these errors as a reason that the campaign cannot run."""
        try:
            yield
        except errors as error:
            self._blocking.append(f"{prefix}{error}")

    def _check_settings(self) -> None:
        with self._blocked_by(EngineError):
            program = find_engine(self._campaign).command[0]
            if not Path(program).exists():
                self._notes.append(
                    f"{self._campaign.orca_said}: {program}: does not exist on this machine; whether the nodes have it"
                    " was not checked"
                )
        self._notes.extend(self._campaign.notices)
        if self._campaign.launcher.kind_facts.uses_workers:
            with self._blocked_by(LauncherError, prefix=f"{self._campaign.file}: "):
                require_parsl()
            if refused := workers_refused(self._campaign):
                # Only a note: a campaign may be checked on a login node and run in an allocation.
                self._notes.append(f"the campaign cannot run on this machine: {refused}")
        if refused := jobs_dir_refused(self._campaign.jobs_dir):
            self._blocking.append(refused)
        with self._blocked_by(InputRefused, prefix=f"{self._campaign.file}: orca: "):
            check_settings(self._settings, ())
        with self._blocked_by(CampaignError):
            _check_setup_func(self._campaign)

    def _open_ledger(self, stack: ExitStack) -> LedgerReader | None:
        path = self._campaign.ledger
        if kind := network_filesystem(path):
            self._notes.append(
                f"the ledger {path} is on a network file system ({kind}), where it works without WAL and more slowly; "
                "prefer a local disk"
            )
        # The first intake fills an empty file.
        if path.exists() and path.stat().st_size:
            with self._blocked_by(LedgerError):
                return stack.enter_context(open_reader(path))
        return None

    def _check_ledger(self, ledger: LedgerReader) -> None:
        with self._blocked_by(LedgerError):
            check_names(self._campaign, ledger)
        with self._blocked_by(LedgerError):
            check_level_of_theory(ledger, self._campaign.level_of_theory())
        self._kept = Kept(
            ledger.figures.count_by_status(),
            ledger.intake.count_rejections(),
            stale_results(self._campaign, ledger),
        )
        self._model = self._model_from(ledger, self._kept.counts.get(Status.COMPLETED, 0))

    def _model_from(self, ledger: LedgerReader, completed: int) -> Model:
        """Make the disk model from up to ``SAMPLED_FOLDERS`` finished folders, spread over the whole campaign."""
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

    def _read_csv(self, ledger: LedgerReader | None) -> None:
        completed = _Completed(ledger)
        with ExitStack() as stack:
            known_rows: Iterator[tuple[int, str, str | None]] = iter(())
            if ledger is not None:
                # With a second reader, as in `_structures`.
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
            self._blocking.append(f"{self._campaign.csv}: has a header but no rows")

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
            "row rejected at intake",
            self._kept.rejected,
            [Example(row.orig_index, row.line, row.reason) for row in ledger.intake.rejections(_EXAMPLES)],
        )

    def _take(self, record: StructureRecord, line: int | None, *, done: bool) -> bool:
        """Render a structure's input and count it. Returns whether it can be run."""
        self._rows += 1
        try:
            structure = chemistry(record)
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
        # Among structures with the same need, such as all small ones, name the largest.
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

    def _check_machine(self, disk: DiskNeed) -> None:
        if not disk.fits:
            self._notes.append(
                f"the file system of {self._campaign.jobs_dir} probably lacks room for the remaining calculations"
            )
        launcher = self._campaign.launcher
        if self._memory is not None:
            if launcher.memory_mb is not None and self._memory.amount > launcher.memory_mb:
                self._notes.append(
                    f"structure {self._memory.orig_index} may need {self._memory.amount} MB, but launcher.memory_mb is "
                    f"{launcher.memory_mb}"
                )
            at_once, there = launcher.max_workers * self._memory.amount, psutil.virtual_memory().total >> 20
            if launcher.on_this_machine and at_once > there:
                self._notes.append(
                    f"launcher.max_workers {launcher.max_workers}: that many of the largest structures at once may need"
                    f" {at_once} MB, but this machine has {there}"
                )
        if self._rows > MANY_STRUCTURES:
            self._notes.append(
                f"{self._rows} structures: Dagster recommends at most {MANY_STRUCTURES} partitions; split the CSV into"
                " several campaigns"
            )

    def _check_scheduler(self) -> None:
        launcher = self._campaign.launcher
        if launcher.kind_facts.program is not None and launcher.longest_job_s is None:
            self._notes.append(
                "launcher.max_job_timeout_s is not set: each retry after a timeout doubles the time limit, and a job"
                " above the queue's limit never runs; set it to the queue's limit"
            )
        for finding in self._requests.findings():
            (self._blocking if finding.blocks else self._notes).append(finding.text)


class _Completed:
    """The set of completed structures. It keeps none in memory, so ask for them in rising order."""

    def __init__(self, ledger: LedgerReader | None) -> None:
        completed = iter(()) if ledger is None else ledger.history.completed()
        self._indices = (row["orig_index"] for row in completed)
        self._next: int | None = next(self._indices, None)

    def __contains__(self, orig_index: int) -> bool:
        while self._next is not None and self._next < orig_index:
            self._next = next(self._indices, None)
        return self._next == orig_index


def _structures(ledger: LedgerReader) -> Iterator[StructureRecord]:
    """Stream every structure of a ledger in the order of the CSV."""
    # A second reader holds the stream: the first may reopen the file when another process starts to write to it.
    with open_reader(ledger.path) as other:
        indices = other.structures.indices()
        while chunk := list(islice(indices, STRUCTURES_AT_ONCE)):
            found = ledger.structures.of(chunk)
            yield from (found[index] for index in chunk if index in found)


def _kind(row: CsvRow, columns: Columns) -> str:
    """Classify the first problem of a refused row."""
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
    """Import the user's ``setup_func``, if any.

    Raises:
        CampaignError: it cannot be imported.
    """
    # A check must not write anything, not even the module's bytecode.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        load_setup_func(campaign)
    finally:
        sys.dont_write_bytecode = before


def _median(counts: Counter[int]) -> float:
    """The median of a histogram."""
    values = sorted(counts)
    passed = list(accumulate(counts[value] for value in values))
    # An even number of values has two in the middle; an odd number has the same one twice.
    lower, upper = (values[bisect_right(passed, place // 2)] for place in (passed[-1] - 1, passed[-1]))
    return (lower + upper) / 2
