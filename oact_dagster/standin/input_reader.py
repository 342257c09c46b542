"""Reader of ORCA inputs that takes what the stand-in needs and ignores everything else."""

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from oact_dagster.errors import OactError
from oact_dagster.orca.elements import ATOMIC_NUMBERS

OPT_KEYWORDS: Final = frozenset({"OPT", "COPT", "LOOSEOPT", "NORMALOPT", "TIGHTOPT", "VERYTIGHTOPT"})

_PAL_KEYWORD: Final = re.compile(r"PAL(\d+)")
_OXIDATION_STATE: Final = re.compile(r"#\s*(?:metal_ox|oxidation_state)\s*:(.*)", re.IGNORECASE)
_COORDINATES: Final = re.compile(r"\*\s*(\w+)(?:\s+(\S+)\s+(\S+))?\s*$")
_DIRECTIVE: Final = re.compile(r"%\s*(\w+)(.*)")
_FRAGMENT: Final = re.compile(r"\(\d+\)$")


class InputError(OactError):
    """The input cannot be read or asks for something impossible. The message says what."""


@dataclass(frozen=True)
class InputRequest:
    """What one input file asks for."""

    symbols: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]
    """The N Cartesian positions in Å."""
    charge: int
    multiplicity: int
    gradient: bool
    """Whether the Cartesian gradient is wanted (``EnGrad``, or an optimisation)."""
    opt_keyword: str | None
    """The keyword that asks for an optimisation, upper case, else None."""
    n_cores: int
    scf_max_iterations: int
    """Largest number of SCF iterations; 125 is ORCA's default."""
    opt_max_cycles: int
    """Largest number of optimisation cycles, by default 8 N and at least 300. ORCA's default is 3 N and 50, but
    Cartesian steps converge more slowly."""
    oxidation_state: int | None
    """The metal's oxidation state from the comment line ``# metal_ox: 6``, else None."""


def read_input(text: str) -> InputRequest:
    """Return the job that an ORCA input describes.

    Case does not matter; comments run from ``#`` to the end of the line.

    Raises:
        InputError: There are no coordinates, an unknown element, an unreadable number, or more than one job.
    """
    keywords: set[str] = set()
    blocks: dict[str, list[str]] = {}
    block: list[str] = []
    oxidation_state: int | None = None
    charge = multiplicity = None
    symbols: list[str] = []
    positions: list[tuple[float, float, float]] = []
    reading_coordinates = False
    for number, raw in enumerate(text.split("\n"), start=1):
        annotation = _OXIDATION_STATE.search(raw)
        if annotation and oxidation_state is None:
            oxidation_state = _oxidation_state(annotation[1].strip(), number)
        line = raw.partition("#")[0].strip()
        if reading_coordinates:
            if line.startswith("*"):
                reading_coordinates = False
            elif line:
                symbol, position = _atom(line, number)
                symbols.append(symbol)
                positions.append(position)
        elif line.startswith("!"):
            keywords.update(line[1:].upper().split())
            block = []
        elif directive := _DIRECTIVE.match(line):
            block = blocks.setdefault(directive[1].lower(), [])
            block += _words(directive[2])
        elif line.startswith("*"):
            if charge is not None:
                raise InputError(f"line {number}: a second set of coordinates")
            charge, multiplicity = _coordinates_head(line, number)
            reading_coordinates = True
        elif line.lower().startswith("$new_job"):
            raise InputError(f"line {number}: $new_job is not supported by the stand-in engine")
        else:
            block += _words(line)
    if reading_coordinates:
        raise InputError("the coordinates do not end with a line '*'")
    if charge is None or multiplicity is None or not symbols:
        raise InputError("no coordinates: the input needs '* xyz CHARGE MULTIPLICITY', the atoms and '*'")
    opt_keyword = next((keyword for keyword in sorted(keywords) if keyword in OPT_KEYWORDS), None)
    by_keyword = max((int(pal[1]) for pal in map(_PAL_KEYWORD.fullmatch, keywords) if pal), default=1)
    return InputRequest(
        symbols=tuple(symbols),
        positions=tuple(positions),
        charge=charge,
        multiplicity=multiplicity,
        gradient=opt_keyword is not None or "ENGRAD" in keywords,
        opt_keyword=opt_keyword,
        n_cores=_setting(blocks, "pal", "nprocs", by_keyword),
        scf_max_iterations=_setting(blocks, "scf", "maxiter", 125),
        opt_max_cycles=_setting(blocks, "geom", "maxiter", max(300, 8 * len(symbols))),
        oxidation_state=oxidation_state,
    )


def _words(text: str) -> list[str]:
    return text.replace("=", " ").lower().split()


def _setting(blocks: dict[str, list[str]], block: str, key: str, default: int) -> int:
    """Return the positive whole number after the last ``key`` in ``%block``."""
    value = default
    for word, following in pairwise([*blocks.get(block, []), ""]):
        if word == key:
            if not following.isdecimal() or int(following) < 1:
                raise InputError(f"%{block} {key} needs a whole number of at least 1, not {following!r}")
            value = int(following)
    return value


def _whole(text: str, what: str, number: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"line {number}: {what} is not a whole number: {text!r}") from None


def _coordinates_head(line: str, number: int) -> tuple[int, int]:
    head = _COORDINATES.match(line)
    if head is None or head[1].lower() != "xyz" or head[2] is None:
        raise InputError(f"line {number}: expected '* xyz CHARGE MULTIPLICITY', found {line!r}")
    charge, multiplicity = _whole(head[2], "the charge", number), _whole(head[3], "the multiplicity", number)
    if multiplicity < 1:
        raise InputError(f"line {number}: the multiplicity must be at least 1, not {multiplicity}")
    return charge, multiplicity


def _atom(line: str, number: int) -> tuple[str, tuple[float, float, float]]:
    label, *rest = line.split()
    symbol = _FRAGMENT.sub("", label).capitalize()
    if symbol not in ATOMIC_NUMBERS:
        raise InputError(f"line {number}: unknown element {label!r}")
    try:
        x, y, z = (float(word) for word in rest[:3])
    except ValueError:
        raise InputError(f"line {number}: expected an element and three numbers, found {line!r}") from None
    if not all(map(math.isfinite, (x, y, z))):
        raise InputError(f"line {number}: a coordinate is not finite: {line!r}")
    return symbol, (x, y, z)


def _oxidation_state(text: str, number: int) -> int | None:
    # The CSV column has no value. That matters only for actinides, which is checked later.
    if not text or text.lower() in {"nan", "none"}:
        return None
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(f"line {number}: the oxidation state is not a whole number: {text!r}") from None
    return int(value)
