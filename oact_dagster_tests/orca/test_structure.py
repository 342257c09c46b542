"""Structures: electrons that fit, and the hash and the formula that name them."""

import pytest

from oact_dagster.errors import StructureError
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.structure import Structure

URANYL = "U 0 0 0\nO 0 0 1.76\nO 0 0 -1.76\n"


def structure(text, charge=0, uhf=0):
    return Structure(parse_geometry(text), charge, uhf)


def test_uhf_counts_unpaired_electrons_and_the_multiplicity_is_one_more():
    neptunium_trifluoride = "Np 0 0 0\nF 0 0 2.06\nF 0 2 -0.5\nF 1.9 -0.64 -0.5"
    assert structure(neptunium_trifluoride, 0, 4).multiplicity == 5
    assert structure(URANYL, 2, 0).multiplicity == 1
    assert structure(URANYL, 2, 0).electrons == 92 + 16 - 2


@pytest.mark.parametrize(
    ("charge", "uhf", "message"),
    [
        (2, 1, "uhf 1 does not fit O2U with charge +2: 106 electrons need an even number of unpaired ones"),
        (1, 2, "uhf 2 does not fit O2U with charge +1: 107 electrons need an odd number of unpaired ones"),
        (-1, 0, "uhf 0 does not fit O2U with charge -1: 109 electrons need an odd number of unpaired ones"),
        (2, -2, "uhf is -2; expected the number of unpaired electrons, 0 or more"),
        (104, 6, "uhf is 6, but O2U has only 4 electrons; expected at most 4"),
        (108, 0, "charge +108 leaves 0 electrons in O2U; expected at least one"),
        (1.0, 1, "charge is 1.0; expected a whole number"),
        (2, True, "uhf is True; expected a whole number"),
        (0, "0", "uhf is '0'; expected a whole number"),
    ],
)
def test_electrons_that_do_not_fit_are_refused(charge, uhf, message):
    with pytest.raises(StructureError) as refusal:
        structure(URANYL, charge, uhf)
    assert str(refusal.value) == message


def test_the_hash_is_that_of_the_calculation_and_not_of_its_text():
    one = structure(URANYL, 2).calculation_hash()
    assert structure("3\nuranyl\nu 0.0 -0.0 1e-9\no 0 0 1.760\no 0 0 -1.76", 2).calculation_hash() == one
    # sha256 of "2 0" and the three lines with six decimals: the same on every machine and in every version.
    assert one == "2aeaf23ce696c9b5"
    others = {
        structure(URANYL, 0).calculation_hash(),
        structure(URANYL, 2, 2).calculation_hash(),
        structure(URANYL.replace("1.76", "1.760001"), 2).calculation_hash(),
        structure(URANYL.replace("U", "Pu"), 2).calculation_hash(),
        structure("O 0 0 1.76\nU 0 0 0\nO 0 0 -1.76\n", 2).calculation_hash(),
    }
    assert len(others | {one}) == 6


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        (URANYL, "O2U"),
        ("U 0 0 0\nO 0 0 2\nH 0 0 3\nC 0 0 -2\nBr 0 4 0", "CHBrOU"),
        ("O 0 0 0\nH 0 0 1\nH 0 1 0", "H2O"),
        ("Cl 0 0 0\nC 0 0 2", "CCl"),
    ],
)
def test_formula_in_hill_order(text, formula):
    geometry = parse_geometry(text)
    charge = sum({"U": 92, "O": 8, "H": 1, "C": 6, "Br": 35, "Cl": 17}[s] for s in geometry.symbols) % 2
    assert Structure(geometry, charge, 0).formula() == formula
