"""The contents of a basis file: which elements have functions, and which have a core potential.

ORCA reads the GAMESS-US format (manual 6.1, section 2.7): the element's name or symbol on a line of its own, then its
shells (``S 3`` and that many numbered primitives), optionally between ``$DATA`` and ``$END``. Blocks of ORCA's own
input (``NewGTO``, ``NewECP``) and of Gaussian (``U 0``, ``****``) are recognised too.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from oact_dagster.orca.elements import ATOMIC_NUMBERS, SYMBOLS

_FULL_NAMES: Final = """
hydrogen helium lithium beryllium boron carbon nitrogen oxygen fluorine neon sodium magnesium aluminum silicon
phosphorus sulfur chlorine argon potassium calcium scandium titanium vanadium chromium manganese iron cobalt nickel
copper zinc gallium germanium arsenic selenium bromine krypton rubidium strontium yttrium zirconium niobium molybdenum
technetium ruthenium rhodium palladium silver cadmium indium tin antimony tellurium iodine xenon cesium barium
lanthanum cerium praseodymium neodymium promethium samarium europium gadolinium terbium dysprosium holmium erbium
thulium ytterbium lutetium hafnium tantalum tungsten rhenium osmium iridium platinum gold mercury thallium lead bismuth
polonium astatine radon francium radium actinium thorium protactinium uranium neptunium plutonium americium curium
berkelium californium einsteinium fermium mendelevium nobelium lawrencium
"""
_ELEMENTS: Final[dict[str, str]] = (
    {name: SYMBOLS[z] for z, name in enumerate(_FULL_NAMES.split())}
    | {"aluminium": "Al", "sulphur": "S", "caesium": "Cs"}
    | {symbol.lower(): symbol for symbol in ATOMIC_NUMBERS}
)
_HEADING: Final = re.compile(r"-?([A-Za-z]+)(?:\s+0)?\s*$")
_NEW: Final = re.compile(r"New(GTO|ECP)\s+([A-Za-z]+)\b", re.IGNORECASE)
_SHELL: Final = re.compile(
    r"(?:SP|[SPDFGHIKL])\s+(\d{1,3})(?:\s+[-+.\d]+(?:[DdEe][-+]?\d+)?)?\s*$", re.IGNORECASE
)
_POTENTIAL: Final = re.compile(r"([A-Za-z]{1,2})-ECP\s+(?:GEN\s+)?\d+\s+\d+", re.IGNORECASE)
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[DdEe][-+]?\d+)?"
_PRIMITIVE: Final = re.compile(rf"{_NUMBER}(?:\s+{_NUMBER})+\s*$")
_LARGEST: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class BasisFile:
    """What was found in a basis file."""

    problem: str | None = None
    """Why it is not a basis file, in a few words; None if it may be one."""
    recognised: bool = False
    """Whether the format is known. Only then does a missing block mean that the element has no functions."""
    elements: frozenset[str] = frozenset()
    """The elements with at least one shell."""
    potentials: frozenset[str] = frozenset()
    """The elements with a core potential."""


def read_basis_file(path: str) -> BasisFile | None:
    """Read which elements a basis file covers. The answer is cached until the file changes.

    Returns None if there is no such file; the caller knows the folder and reports that.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _read(path: str, _mtime_ns: int, size: int) -> BasisFile:
    if not Path(path).is_file():
        return BasisFile(problem="it is not a regular file")
    if size > _LARGEST:
        return BasisFile(problem=f"it is too large ({size >> 20} MB)")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        return BasisFile(problem=f"it cannot be read ({error.strerror})")
    if not data.strip():
        return BasisFile(problem="it is empty")
    if b"\0" in data:
        return BasisFile(problem="it is binary")
    return _parse(data.decode("utf-8", errors="replace"))


def _parse(text: str) -> BasisFile:
    elements: set[str] = set()
    potentials: set[str] = set()
    element: str | None = None
    primitives = 0
    numbers = False
    in_potential = False
    for raw in text.splitlines():
        line = raw.split("!")[0].split("#")[0].strip()
        if not line:
            continue
        if new := _NEW.match(line):
            element = _ELEMENTS.get(new[2].lower())
            in_potential = new[1].upper() == "ECP"
            if in_potential and element:
                potentials.add(element)
        elif potential := _POTENTIAL.match(line):
            element = _ELEMENTS.get(potential[1].lower())
            in_potential = True
            if element:
                potentials.add(element)
        # A one-letter heading without a number of primitives is an element ("I" is iodine); "S 3" is a shell.
        elif (heading := _HEADING.match(line)) and heading[1].lower() in _ELEMENTS:
            element, in_potential, primitives = _ELEMENTS[heading[1].lower()], False, 0
        elif not in_potential and (shell := _SHELL.match(line)):
            primitives = int(shell[1])
        elif _PRIMITIVE.match(line):
            numbers = True
            if element and primitives and not in_potential:
                elements.add(element)
    if elements:
        return BasisFile(recognised=True, elements=frozenset(elements), potentials=frozenset(potentials))
    if numbers:
        return BasisFile(potentials=frozenset(potentials))
    return BasisFile(problem="it holds no basis set")
