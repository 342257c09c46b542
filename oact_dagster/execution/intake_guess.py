"""Guessing which columns hold geometry, charge and unpaired electrons, from a CSV's header and first rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.execution.csv_rows import CsvError, CsvFile
from oact_dagster.execution.intake_columns import listed
from oact_dagster.execution.intake_report import IntakeRefused
from oact_dagster.execution.intake_rows import whole_number
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.geometry import GeometryError, parse_geometry

SAMPLE_ROWS: Final = 100
"""Rows that are looked at."""

LONGEST_ANNOTATION: Final = 80
"""Columns with longer values are not written into inputs as comments."""

_MOST: Final = 0.8
"""Share of the sampled rows that must agree with a guess; the rest may be bad rows, which intake rejects."""

_GEOMETRY_NAMES: Final = ("aligned_csd_core", "geometry", "xyz")
_CHARGE_NAMES: Final = (
    "charge",
    "total_charge",
    "molecular_charge",
    "net_charge",
    "formal_charge",
    "chg",
    "q",
)
_SPIN_NAMES: Final = (
    "uhf",
    "n_unpaired",
    "nunpaired",
    "unpaired_electrons",
    "num_unpaired",
    "unpaired",
    "spin",
)
_NAME_NAMES: Final = ("name", "label", "id", "refcode", "uid", "title")
_OXIDATION_NAME: Final = "metal_ox"


@dataclass(frozen=True, slots=True)
class GuessedColumns:
    """The columns of a CSV that a campaign needs, as far as the CSV shows them."""

    geometry: str
    charge: str | None
    """None when no column holds charges; a campaign then takes 0 for all."""
    spin: str | None
    """None when no column holds unpaired electrons; a campaign then takes 0 for all."""
    annotate: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    """The key of campaign.yaml (``geometry_column``, …) and, on one line, why its column was taken."""


@dataclass(frozen=True, slots=True)
class _Sample:
    columns: tuple[str, ...]
    rows: Sequence[Sequence[bytes]]

    def values(self, column: str) -> Iterator[bytes]:
        place = self.columns.index(column)
        return (row[place] for row in self.rows)

    def share(self, column: str, test: Callable[[bytes], bool]) -> float:
        return sum(map(test, self.values(column))) / len(self.rows)

    def whole(self, names: Sequence[str]) -> list[str]:
        """Those of the columns in which most values are whole numbers."""
        return [
            name for name in names if self.share(name, lambda field: whole_number(field) is not None) >= _MOST
        ]


def guess_columns(csv_path: str | Path) -> GuessedColumns:
    """Guess a campaign's columns from a CSV's header and first rows.

    A column of multiplicities is never taken for one of unpaired electrons: names decide first, and then the
    parity of the electrons, since a multiplicity is one more.

    Args:
        csv_path: the CSV.

    Returns:
        The columns, each with the reason why.

    Raises:
        IntakeRefused: the CSV cannot be read, no column holds geometries, or only multiplicities are there; the
            text lists the columns.
    """
    path = Path(csv_path)
    try:
        with CsvFile(path) as csv:
            sample = _Sample(csv.columns, [row.fields for row in islice(csv.rows(), SAMPLE_ROWS)])
    except CsvError as error:
        raise IntakeRefused(str(error)) from None
    if not sample.rows:
        raise IntakeRefused(f"{path}: has a header and no rows; expected one row for each structure")
    geometry, nuclear_charges, geometry_reason = _geometry(path, sample)
    charge, spin, charge_reason, spin_reason = _charge_and_spin(path, sample, nuclear_charges)
    annotate, annotate_reason = _annotate(sample)
    return GuessedColumns(
        geometry,
        charge,
        spin,
        annotate,
        (
            ("geometry_column", geometry_reason),
            ("charge_column", charge_reason),
            ("spin_column", spin_reason),
            ("annotate", annotate_reason),
        ),
    )


def _geometry(path: Path, sample: _Sample) -> tuple[str, list[int | None], str]:
    """Return the geometry column, the sum of nuclear charges in each row (None for a bad one), and the reason."""
    read = {name: [_nuclear_charge(value) for value in sample.values(name)] for name in sample.columns}
    found = [name for name, sums in read.items() if 2 * sums.count(None) <= len(sums)]
    if not found:
        raise IntakeRefused(f"{path}: {_no_geometry(sample)}")
    ranked = _by_name(found, _GEOMETRY_NAMES, ("geom", "xyz", "coord")) or found
    chosen = ranked[0]
    good = len(sample.rows) - read[chosen].count(None)
    others = [name for name in found if name != chosen]
    beside = f"; so do those of {listed(others)}" if others else ""
    return chosen, read[chosen], f"{good} of the first {len(sample.rows)} values read as geometries{beside}"


def _no_geometry(sample: _Sample) -> str:
    likely = _by_name(sample.columns, _GEOMETRY_NAMES, ("geom", "xyz", "coord"))
    why = ""
    if likely:
        try:
            parse_geometry(next(sample.values(likely[0])).decode())
        except GeometryError as error:
            why = f"; the first value of {likely[0]!r} does not: {error}"
    return (
        "no column holds geometries ('El x y z' lines, or XYZ with its count and comment line)"
        f"{why}; the columns are: {listed(sample.columns)}"
    )


def _charge_and_spin(
    path: Path, sample: _Sample, nuclear_charges: Sequence[int | None]
) -> tuple[str | None, str | None, str, str]:
    """Return the columns of charges and of unpaired electrons, and the reason for each."""
    charges = sample.whole(_by_name(sample.columns, _CHARGE_NAMES, ("charge",)))
    multiplicities = sample.whole([name for name in sample.columns if _says_multiplicity(name)])
    spins = [
        name
        for name in sample.whole(_by_name(sample.columns, _SPIN_NAMES, ("uhf", "unpaired", "unpair")))
        if name not in multiplicities
    ]
    candidates: list[str | None] = [*charges] or [None]
    fits = {
        (charge, spin): _parity_share(sample, nuclear_charges, charge, spin)
        for charge in candidates
        for spin in spins
    }
    # The pairs are in the order of their names' likeness: the first one that the electrons agree with.
    chosen = next((pair for pair, share in fits.items() if share >= _MOST), None)
    if chosen is not None:
        share = f"fits the electrons of {fits[chosen]:.0%} of the first {len(sample.rows)} rows"
        return *chosen, _charge_reason(chosen[0]), f"{share}, as a number of unpaired electrons"
    charge = candidates[0]
    shifted = [spin for spin in spins if fits[charge, spin] <= 1 - _MOST]
    for name in [*multiplicities, *shifted]:
        told = (
            "by its name" if name in multiplicities else "since its values are one off the electrons' parity"
        )
        raise IntakeRefused(
            f"{path}: no column holds unpaired electrons; {name!r} holds multiplicities, {told}: add a "
            f"column uhf = {name} - 1; the columns are: {listed(sample.columns)}"
        )
    if spins:
        raise IntakeRefused(
            f"{path}: {spins[0]!r} fits the electrons of only {fits[charge, spins[0]]:.0%} of the first "
            f"{len(sample.rows)} rows as unpaired electrons (charge column: {charge}); write campaign.yaml by "
            f"hand if it is the right one; the columns are: {listed(sample.columns)}"
        )
    fit = _parity_share(sample, nuclear_charges, charge, None)
    return (
        charge,
        None,
        _charge_reason(charge),
        f"no column is named like unpaired electrons (uhf, …): 0 for all, which fits {fit:.0%} of the first rows",
    )


def _charge_reason(charge: str | None) -> str:
    if charge is None:
        return "no column of whole numbers is named like a charge: 0 for all"
    return "whole numbers, and named like a charge"


def _annotate(sample: _Sample) -> tuple[tuple[str, ...], str]:
    def is_short(field: bytes) -> bool:
        return len(field) <= LONGEST_ANNOTATION and b"\n" not in field

    short = [name for name in sample.columns if sample.share(name, is_short) == 1.0]
    names = _by_name(short, _NAME_NAMES, ())[:1]
    oxidation = sample.whole([name for name in short if name == _OXIDATION_NAME])
    chosen = (*names, *oxidation)
    if not chosen:
        return (), "no short column is named like a name, and there is no metal_ox"
    told = "short values that say what a structure is"
    return chosen, f"{told}; the stand-in engine needs metal_ox for actinides" if oxidation else told


def _parity_share(
    sample: _Sample, nuclear_charges: Sequence[int | None], charge: str | None, spin: str | None
) -> float:
    """Return the share of the rows with a geometry whose number of electrons fits the unpaired ones."""
    charges = (b"0" for _ in sample.rows) if charge is None else sample.values(charge)
    spins = (b"0" for _ in sample.rows) if spin is None else sample.values(spin)
    fitting = counted = 0
    for nuclear, charge_field, spin_field in zip(nuclear_charges, charges, spins, strict=True):
        q, unpaired = whole_number(charge_field), whole_number(spin_field)
        if nuclear is None or q is None or unpaired is None:
            continue
        counted += 1
        fitting += unpaired >= 0 and (nuclear - q - unpaired) % 2 == 0
    return fitting / counted if counted else 0.0


def _nuclear_charge(value: bytes) -> int | None:
    try:
        return sum(ATOMIC_NUMBERS[symbol] for symbol in parse_geometry(value.decode()).symbols)
    except GeometryError:
        return None


def _by_name(columns: Sequence[str], names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the columns of these names, then those with one of these parts in their name, likeliest first."""

    def rank(column: str) -> int:
        folded = column.strip().lower()
        if folded in names:
            return names.index(folded)
        return len(names) if any(part in folded for part in parts) else -1

    return sorted((column for column in columns if rank(column) >= 0), key=rank)


def _says_multiplicity(column: str) -> bool:
    folded = column.strip().lower()
    return "mult" in folded or folded in ("2s+1", "m")
