"""Guess which columns hold geometry, charge and unpaired electrons, from a CSV's header and first rows."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.errors import CsvError, GeometryError, IntakeRefused
from oact_dagster.intake.columns import listed
from oact_dagster.intake.csv_rows import CsvFile
from oact_dagster.intake.rows import whole_number
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.geometry import parse_geometry

SAMPLE_ROWS: Final = 100

LONGEST_ANNOTATION: Final = 80
"""Columns with longer values do not become comments in inputs."""

_MOST: Final = 0.8
"""Share of the sampled rows that must agree with a guess. The others may be bad rows, which the intake rejects."""

_GEOMETRY_NAMES: Final = ("aligned_csd_core", "geometry", "xyz")
_CHARGE_NAMES: Final = (
    *("charge", "total_charge", "molecular_charge", "net_charge", "formal_charge"),
    *("chg", "q"),
)
_SPIN_NAMES: Final = (
    *("uhf", "n_unpaired", "nunpaired", "unpaired_electrons"),
    *("num_unpaired", "unpaired", "spin"),
)
_NAME_NAMES: Final = ("name", "label", "id", "refcode", "uid", "title")
_OXIDATION_NAME: Final = "metal_ox"
_BY_NAME: Final = "by its name"
_BY_PARITY: Final = "because its values have the wrong parity for unpaired electrons"


@dataclass(frozen=True, slots=True)
class GuessedColumns:
    """The columns that a campaign needs, as guessed from a CSV."""

    geometry: str
    charge: str | None
    """None if no column holds charges; all charges are then 0."""
    spin: str | None
    """None if no column holds unpaired electrons; their number is then 0 for all."""
    annotate: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    """(key of campaign.yaml, such as ``geometry_column``; why its column was chosen, in one line)."""
    warnings: tuple[str, ...] = ()
    """How the stated columns disagree with the first rows, one line each."""


@dataclass(frozen=True, slots=True)
class _Sample:
    columns: tuple[str, ...]
    rows: Sequence[Sequence[bytes]]

    @property
    def once(self) -> list[str]:
        """Columns with a unique name; an intake refuses to read one of several."""
        return [name for name in self.columns if self.columns.count(name) == 1]

    def values(self, column: str) -> Iterator[bytes]:
        place = self.columns.index(column)
        return (row[place] for row in self.rows)

    def share(self, column: str, test: Callable[[bytes], bool]) -> float:
        return sum(map(test, self.values(column))) / len(self.rows)

    def whole(self, names: Sequence[str]) -> list[str]:
        """Return the columns in which most values are whole numbers."""
        return [
            name for name in names if self.share(name, lambda field: whole_number(field) is not None) >= _MOST
        ]


def guess_columns(csv_path: str | Path, stated: Mapping[str, str | None] | None = None) -> GuessedColumns:
    """Guess a campaign's columns from a CSV's header and first rows, each with a reason.

    A column of multiplicities is never taken for one of unpaired electrons. Names decide first, then the parity of the
    electrons, since a multiplicity is one more. Columns in ``stated`` (``geometry_column``, ``charge_column``,
    ``spin_column``; None for 0 in all rows) are used as given, with a warning if they do not fit the first rows.

    Raises:
        IntakeRefused: The CSV cannot be read, a stated column is missing, no column holds geometries, or there are only
            multiplicities; the message lists the columns.
    """
    path, stated = Path(csv_path), stated or {}
    try:
        with CsvFile(path) as csv:
            sample = _Sample(csv.columns, [row.fields for row in islice(csv.rows(), SAMPLE_ROWS)])
    except CsvError as error:
        raise IntakeRefused(str(error)) from None
    for key, name in stated.items():
        if name is not None and name not in sample.once:
            raise IntakeRefused(f"{path}: {_missing_or_repeated(name, key, sample)}")
    if not sample.rows:
        raise IntakeRefused(f"{path}: has a header but no rows; expected one row for each structure")
    geometry, nuclear_charges, geometry_reason = _geometry(path, sample, stated.get("geometry_column"))
    charge, spin, charge_reason, spin_reason = _charge_and_spin(path, sample, nuclear_charges, stated)
    annotate, annotate_reason = _annotate(sample)
    reasons = {
        "geometry_column": geometry_reason,
        "charge_column": charge_reason,
        "spin_column": spin_reason,
        "annotate": annotate_reason,
    } | dict.fromkeys(stated, "given")
    warnings = _warnings(sample, nuclear_charges, geometry, charge, spin, stated)
    return GuessedColumns(geometry, charge, spin, annotate, tuple(reasons.items()), tuple(warnings))


def _missing_or_repeated(name: str, key: str, sample: _Sample) -> str:
    count = sample.columns.count(name)
    if count:
        return f"the column {name!r} ({_option(key)}) appears {count} times; its name must be unique"
    return f"no column {name!r} ({_option(key)}); the columns are: {listed(sample.columns)}"


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _geometry(path: Path, sample: _Sample, stated: str | None) -> tuple[str, list[int | None], str]:
    """Return the geometry column, the sum of the nuclear charges in each row (None for a bad row), and the reason."""
    looked_at = sample.once if stated is None else (stated,)
    read = {name: [_nuclear_charge(value) for value in sample.values(name)] for name in looked_at}
    if stated is not None:
        return stated, read[stated], "given"
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
    likely = _by_name(sample.once, _GEOMETRY_NAMES, ("geom", "xyz", "coord"))
    why = ""
    if likely:
        told = _geometry_error(next(sample.values(likely[0])))
        why = f"; the first value of {likely[0]!r} does not: {told}" if told else ""
    twice = sorted(set(sample.columns) - set(sample.once))
    if twice:
        why += f"; columns that appear more than once are not read: {listed(twice)}"
    return (
        "no column holds geometries ('El x y z' lines, or XYZ with count and comment line)"
        f"{why}; the columns are: {listed(sample.columns)}"
    )


def _charge_and_spin(
    path: Path, sample: _Sample, nuclear_charges: Sequence[int | None], stated: Mapping[str, str | None]
) -> tuple[str | None, str | None, str, str]:
    """Return the columns of charges and of unpaired electrons, and the reason for each."""
    free = [name for name in sample.once if name not in stated.values()]
    named = sample.whole(_by_name(free, _CHARGE_NAMES, ("charge",)))
    charges: list[str | None] = [*named] or [None]
    if "charge_column" in stated:
        charges = [stated["charge_column"]]
    if "spin_column" in stated:
        spin = stated["spin_column"]
        shares = {charge: _parity_share(sample, nuclear_charges, charge, spin) for charge in charges}
        charge = next((charge for charge, share in shares.items() if (share or 0) >= _MOST), charges[0])
        if spin is not None:
            others = [_parity_share(sample, nuclear_charges, other, spin) for other in named]
            told = _why_multiplicities(sample, spin, [shares[charge], *others])
            if told is not None:
                raise IntakeRefused(_only_multiplicities(path, sample, spin, told))
        return charge, spin, _charge_reason(charge), "given"
    multiplicities = sample.whole([name for name in free if _says_multiplicity(name)])
    spins = [
        name
        for name in sample.whole(_by_name(free, _SPIN_NAMES, ("uhf", "unpaired", "unpair")))
        if name not in multiplicities
    ]
    fits = {
        (charge, spin): _parity_share(sample, nuclear_charges, charge, spin)
        for charge in charges
        for spin in spins
    }
    # The pairs are ordered by how likely their names are. Take the first one that fits the electrons.
    for pair, share in fits.items():
        if share is not None and share >= _MOST:
            fit = f"fits the electrons of {share:.0%} of the first {len(sample.rows)} rows"
            return *pair, _charge_reason(pair[0]), f"{fit}, as a number of unpaired electrons"
    charge = charges[0]
    if multiplicities:
        raise IntakeRefused(_only_multiplicities(path, sample, multiplicities[0], _BY_NAME))
    for spin in spins:
        share = fits[charge, spin]
        if share is None:
            return charge, spin, _charge_reason(charge), "named like unpaired electrons; not checked"
        if share <= 1 - _MOST:
            raise IntakeRefused(_only_multiplicities(path, sample, spin, _BY_PARITY))
    if spins:
        raise IntakeRefused(
            f"{path}: {spins[0]!r}, as unpaired electrons, fits the electrons of only "
            f"{fits[charge, spins[0]]:.0%} of the first {len(sample.rows)} rows (charge column: {_shown(charge)}); if "
            f"it is the right column, name it with --spin-column; the columns are: {listed(sample.columns)}"
        )
    share = _parity_share(sample, nuclear_charges, charge, None)
    checked = "not checked" if share is None else f"which fits {share:.0%} of the first rows"
    return (
        charge,
        None,
        _charge_reason(charge),
        f"no column is named like unpaired electrons (uhf, …): 0 for all, {checked}",
    )


def _why_multiplicities(sample: _Sample, spin: str, shares: Sequence[float | None]) -> str | None:
    """Return why a stated column clearly holds multiplicities, or None if it may hold unpaired electrons.

    ``shares`` has the share of rows that it fits as unpaired electrons, for each column that may hold the charges.
    """
    values = [whole_number(field) for field in sample.values(spin)]
    # A multiplicity is never 0.
    possible = sum(value is not None and value >= 1 for value in values)
    if possible < _MOST * len(values):
        return None
    if _says_multiplicity(spin):
        return _BY_NAME
    none_fits = shares[0] is not None and all(share is None or share <= 1 - _MOST for share in shares)
    return _BY_PARITY if none_fits and 0 not in values else None


def _only_multiplicities(path: Path, sample: _Sample, name: str, told: str) -> str:
    """Return a message that a column holds multiplicities, with a command that adds one of unpaired electrons."""
    new = "uhf" if "uhf" not in sample.columns else f"{name}_minus_1"
    source, target, column, made = (
        json.dumps(text, ensure_ascii=False)
        for text in (str(path), str(path.with_name(f"{path.stem}_uhf.csv")), name, new)
    )
    # Values are read as text, so that nothing else in the CSV changes.
    code = (
        f"import pandas as pd; t = pd.read_csv({source}, dtype=str, keep_default_na=False); "
        f't[{made}] = pd.to_numeric(t[{column}], errors="coerce") - 1; t.to_csv({target}, index=False)'
    )
    return (
        f"{path}: no column holds unpaired electrons; {name!r} holds multiplicities, {told}: add a column "
        f"{new} = {name} - 1 (the columns are: {listed(sample.columns)}); with pandas, into a new CSV: "
        f"python -c {shlex.quote(code)}"
    )


def _warnings(
    sample: _Sample,
    nuclear_charges: Sequence[int | None],
    geometry: str,
    charge: str | None,
    spin: str | None,
    stated: Mapping[str, str | None],
) -> Iterator[str]:
    """Yield how the stated columns disagree with the first rows."""
    rows = len(sample.rows)
    good = rows - nuclear_charges.count(None)
    if "geometry_column" in stated and good < _MOST * rows:
        place = nuclear_charges.index(None)
        told = _geometry_error(list(sample.values(geometry))[place])
        yield (
            f"geometry_column: only {good} of the first {rows} values of {geometry!r} are geometries; the one in row "
            f"{place} is not: {told}"
        )
    for key, name in (("charge_column", charge), ("spin_column", spin)):
        if key not in stated or name is None:
            continue
        whole = sum(whole_number(field) is not None for field in sample.values(name))
        if whole < _MOST * rows:
            yield f"{key}: only {whole} of the first {rows} values of {name!r} are whole numbers"
    if "charge_column" in stated or "spin_column" in stated:
        share = _parity_share(sample, nuclear_charges, charge, spin)
        if share is not None and share < _MOST:
            yield (
                f"charge_column {_shown(charge)} and spin_column {_shown(spin)} (unpaired electrons) fit the electrons"
                f" of only {share:.0%} of the first {rows} rows; the other rows will be rejected"
            )


def _shown(column: str | None) -> str:
    """Return a column as written in campaign.yaml."""
    return "null" if column is None else column


def _charge_reason(charge: str | None) -> str:
    if charge is None:
        return "no column of whole numbers is named like a charge: 0 for all"
    return "whole numbers, and named like a charge"


def _annotate(sample: _Sample) -> tuple[tuple[str, ...], str]:
    def is_short(field: bytes) -> bool:
        return len(field) <= LONGEST_ANNOTATION and b"\n" not in field

    short = [name for name in sample.once if sample.share(name, is_short) == 1.0]
    names = _by_name(short, _NAME_NAMES, ())[:1]
    oxidation = sample.whole([name for name in short if name == _OXIDATION_NAME])
    chosen = (*names, *oxidation)
    if not chosen:
        return (), "no short column is named like a name, and there is no metal_ox"
    told = "short values that identify a structure"
    return chosen, f"{told}; the stand-in engine needs metal_ox for actinides" if oxidation else told


def _parity_share(
    sample: _Sample, nuclear_charges: Sequence[int | None], charge: str | None, spin: str | None
) -> float | None:
    """Return the share of rows whose number of electrons fits the unpaired ones.

    Rows without a geometry or a number do not count. None if no row counts.
    """
    charges = (b"0" for _ in sample.rows) if charge is None else sample.values(charge)
    spins = (b"0" for _ in sample.rows) if spin is None else sample.values(spin)
    fitting = counted = 0
    for nuclear, charge_field, spin_field in zip(nuclear_charges, charges, spins, strict=True):
        q, unpaired = whole_number(charge_field), whole_number(spin_field)
        if nuclear is None or q is None or unpaired is None:
            continue
        counted += 1
        fitting += unpaired >= 0 and (nuclear - q - unpaired) % 2 == 0
    return fitting / counted if counted else None


def _geometry_error(value: bytes) -> str:
    """Return why a value is not a geometry, on one line; empty for a geometry."""
    try:
        parse_geometry(value.decode())
    except GeometryError as error:
        return " ".join(str(error).split())
    return ""


def _nuclear_charge(value: bytes) -> int | None:
    try:
        return sum(ATOMIC_NUMBERS[symbol] for symbol in parse_geometry(value.decode()).symbols)
    except GeometryError:
        return None


def _by_name(columns: Sequence[str], names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the columns with these names, then those whose names contain one of these parts; likeliest first."""

    def rank(column: str) -> int:
        folded = column.strip().lower()
        if folded in names:
            return names.index(folded)
        return len(names) if any(part in folded for part in parts) else -1

    return sorted((column for column in columns if rank(column) >= 0), key=rank)


def _says_multiplicity(column: str) -> bool:
    folded = column.strip().lower()
    return "mult" in folded or folded in ("2s+1", "m")
