"""The molecule that GFN2-xTB computes instead of the one in the input.

GFN2-xTB has parameters for H to Rn (C. Bannwarth et al., J. Chem. Theory Comput. 2019, 15, 1652). An actinide is
replaced by the lanthanide above it. GFN2 puts a lanthanide's f electrons into the core and leaves three valence
electrons, as in oxidation state 3, so each actinide shifts the total charge by 3 minus its oxidation state.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.elements import ACTINIDES, ATOMIC_NUMBERS, LANTHANIDES, SYMBOLS
from oact_dagster.standin.input_reader import InputError, InputRequest

_HEAVIEST: Final = 86
_ACTINIDE_TO_LANTHANIDE: Final = 32
_OXIDATION_STATE_IN_GFN2: Final = 3
_VALENCE_ELECTRONS_OF_F_ELEMENTS: Final = 3


class OxidationStateError(InputError):
    """The input has actinides (lightest first) but no comment with their oxidation state."""

    def __init__(self, actinides: Sequence[str]) -> None:
        """Set the symbols and the message."""
        super().__init__(
            f"{', '.join(actinides)}: the stand-in engine needs the oxidation state of an actinide;\n"
            "add the comment line '# metal_ox: 6' (or '# oxidation_state: 6') with its value to the input"
        )
        self.actinides = tuple(actinides)


@dataclass(frozen=True)
class Surrogate:
    """The molecule that is really computed."""

    numbers: tuple[int, ...]
    """Atomic numbers of the N atoms, none above 86."""
    charge: int
    unpaired: int
    replacements: tuple[tuple[str, str], ...]
    """(symbol in the input, symbol computed) for each actinide element."""

    def description(self) -> str:
        """Return what was computed, in words."""
        replaced = ", ".join(f"{asked} replaced by {computed}" for asked, computed in self.replacements)
        return (
            f"{replaced or 'the elements of the input'}, charge {self.charge}, "
            f"{self.unpaired} unpaired electron{'' if self.unpaired == 1 else 's'}"
        )


def electron_count(job: InputRequest) -> int:
    """Return the number of electrons of the molecule in the input, without any ECP."""
    return sum(ATOMIC_NUMBERS[symbol] for symbol in job.symbols) - job.charge


def check_multiplicity(job: InputRequest) -> None:
    """Check that the multiplicity fits the number of electrons; the message is ORCA's.

    Raises:
        InputError: The parities do not match, or there are more unpaired electrons than electrons.
    """
    electrons, multiplicity = electron_count(job), job.multiplicity
    if electrons % 2 == multiplicity % 2 or not 0 <= multiplicity - 1 <= electrons:
        parity = ("even", "odd")
        raise InputError(
            f"Error : multiplicity ({multiplicity}) is {parity[multiplicity % 2]} and number of electrons "
            f"({electrons}) is {parity[electrons % 2]} -> impossible"
        )


def surrogate_of(job: InputRequest) -> Surrogate:
    """Return the molecule that GFN2-xTB computes for a job.

    Raises:
        OxidationStateError: An actinide has no oxidation state.
        InputError: The multiplicity is impossible, or an element has no parameters.
    """
    check_multiplicity(job)
    found = Counter(job.symbols)
    actinides = sorted(ACTINIDES & found.keys(), key=ATOMIC_NUMBERS.__getitem__)
    if actinides and job.oxidation_state is None:
        raise OxidationStateError(actinides)
    replacement = {asked: SYMBOLS[ATOMIC_NUMBERS[asked] - 1 - _ACTINIDE_TO_LANTHANIDE] for asked in actinides}
    computed = [replacement.get(symbol, symbol) for symbol in job.symbols]
    for symbol in computed:
        if ATOMIC_NUMBERS[symbol] > _HEAVIEST:
            raise InputError(f"{symbol}: GFN2-xTB is not available for this element")
    charge = job.charge
    if job.oxidation_state is not None:
        charge -= sum(found[symbol] for symbol in actinides) * (
            job.oxidation_state - _OXIDATION_STATE_IN_GFN2
        )
    unpaired = job.multiplicity - 1
    if any(symbol in LANTHANIDES for symbol in computed):
        # The f electrons are in the core, so pair all valence electrons except an odd one.
        valence = sum(
            _VALENCE_ELECTRONS_OF_F_ELEMENTS if symbol in LANTHANIDES else ATOMIC_NUMBERS[symbol]
            for symbol in computed
        )
        unpaired = (valence - charge) % 2
    return Surrogate(tuple(ATOMIC_NUMBERS[s] for s in computed), charge, unpaired, tuple(replacement.items()))
