"""What is known of basis sets and core potentials."""

import pytest

from oact_dagster.orca.elements import ACTINIDES, LANTHANIDES, SYMBOLS
from oact_dagster.orca.inputs import potentials
from oact_dagster.orca.inputs.basis import (
    functions_of,
    is_auxiliary,
    is_file,
    is_relativistic,
    known_basis,
    library,
    sets_covering,
)
from oact_dagster.orca.spans import as_spans, by_element


def test_spans_name_ranges_along_the_periodic_table():
    assert by_element("H-He 9, Li 17, Ac-Pa 1") == {"H": 9, "He": 9, "Li": 17, "Ac": 1, "Th": 1, "Pa": 1}
    assert as_spans(frozenset({"H", "He", "Li", "U", "Np", "Cl"})) == "H-Li, Cl, U-Np"


def test_no_def2_set_has_actinides():
    for basis in library().values():
        if "def2" in basis.name:
            assert not basis.elements & ACTINIDES, basis.name


@pytest.mark.parametrize("name", ["ma-def-TZVP", "def-TZVP", "SARC-DKH-TZVP", "SARC-ZORA-TZVPP"])
def test_sets_with_all_actinides(name):
    assert known_basis(name).elements >= ACTINIDES


@pytest.mark.parametrize(
    "name", ["SARC-DKH-TZVP", "SARC-ZORA-TZVP", "x2c-TZVPall", "def2-TZVP", "def2-TZVPD"]
)
def test_sets_with_all_lanthanides(name):
    assert known_basis(name).elements >= LANTHANIDES


def test_coverage_of_the_rest():
    light = frozenset(SYMBOLS[:36])
    assert known_basis("def2-TZVPD").elements == frozenset(SYMBOLS[:86])
    assert known_basis("x2c-TZVPall").elements == frozenset(SYMBOLS[:86])
    assert known_basis("DKH-def2-TZVP").elements == light
    assert known_basis("ma-DKH-def2-TZVP").elements == light
    assert known_basis("ma-def-TZVP").elements == frozenset(SYMBOLS[86:])
    assert not known_basis("SARC-DKH-TZVP").elements & light
    assert "Bk" not in known_basis("ANO-RCC-TZP").elements
    assert "Cm" in known_basis("ANO-RCC-TZP").elements


def test_names_ignore_case_as_orca_does():
    assert known_basis("DEF2-tzvpd") is known_basis("def2-TZVPD")
    assert known_basis("def2-TZVPX") is None


@pytest.mark.parametrize(
    ("element", "basis", "functions"),
    [
        ("U", "ma-def-TZVP", 11 + 10 * 3 + 5 * 5 + 4 * 7 + 9),  # printed by ORCA 6.1: 11s10p5d4f1g
        ("O", "def2-TZVPD", 6 + 4 * 3 + 3 * 5 + 7),  # printed by ORCA 6.1: 6s4p3d1f
        ("F", "def2-TZVPD", 40),
        ("C", "def2-TZVP", 31),
        ("C", "ma-def2-TZVP", 35),
        ("Nd", "x2c-TZVPall", 104),
        ("U", "SARC-DKH-TZVP", 159),
    ],
)
def test_numbers_of_functions(element, basis, functions):
    assert functions_of(basis, element) == functions


def test_the_estimate_for_unknown_sets_is_above_every_set_of_the_tables():
    for basis in library().values():
        for element, functions in basis.functions.items():
            assert functions <= functions_of("no such set", element), (basis.name, element)


@pytest.mark.parametrize("value", ["/data/u.bas", "sets/u.txt", "u.bas", "U.GBS", "../x/J/u.bas"])
def test_files(value):
    assert is_file(value)


@pytest.mark.parametrize("value", ["def2-TZVPD", "def2/J", "SARC/J", "def2/JK", "def2-TZVP/C", "6-31G**"])
def test_no_files(value):
    assert not is_file(value)
    assert is_auxiliary(value) == ("/" in value)


@pytest.mark.parametrize(
    ("element", "ecp", "electrons"),
    [
        ("U", "def-ECP", 60),
        ("Ac", "def-ECP", 60),
        ("Lr", "DEF-ecp", 60),
        ("Fr", "def-ECP", 78),
        ("U", "def2-ECP", None),
        ("Rb", "def2-ECP", 28),
        ("Xe", "def2-ECP", 28),
        ("Cs", "def2-ECP", 46),
        ("La", "def2-ECP", 46),
        ("Ce", "def2-ECP", 28),
        ("Lu", "def2-ECP", 28),
        ("Hf", "def2-ECP", 60),
        ("Rn", "def2-ECP", 60),
        ("Kr", "def2-ECP", None),
        ("U", "SD(78,MWB)", 78),
        ("U", "HayWadt", None),
    ],
)
def test_electrons_that_potentials_replace(element, ecp, electrons):
    assert potentials.core_electrons(ecp, element) == electrons


def test_potentials_replace_pairs_so_that_the_parity_stays():
    for ecp in potentials.CORE_ELECTRONS:
        assert all(electrons % 2 == 0 for electrons in potentials.covered_by(ecp).values())


@pytest.mark.parametrize(
    ("basis", "element", "ecp"),
    [
        ("def2-TZVPD", "Kr", None),
        ("def2-TZVPD", "Rb", "def2-ECP"),
        ("MA-DEF2-SVP", "Nd", "def2-ECP"),
        ("def2-TZVPD", "U", None),
        ("ma-def-TZVP", "U", "def-ECP"),
        ("def-TZVP", "Lr", "def-ECP"),
        ("DKH-def2-TZVP", "Nd", None),
        ("x2c-TZVPall", "Nd", None),
        ("SARC-DKH-TZVP", "U", None),
        ("LANL2DZ", "U", "HayWadt"),
        ("LANL2DZ", "O", None),
        ("cc-pVTZ-PP", "I", "SK-MCDHF-RSC"),
    ],
)
def test_potentials_that_a_basis_brings_along(basis, element, ecp):
    assert potentials.brought_by(basis, element) == ecp


def test_sets_for_relativistic_hamiltonians():
    for name in (
        "x2c-TZVPall",
        "DKH-def2-TZVP",
        "ma-ZORA-def2-SVP",
        "SARC2-DKH-QZV",
        "ANO-RCC-TZP",
        "cc-pVTZ-DK3",
    ):
        assert is_relativistic(name), name
    for name in ("def2-TZVPD", "ma-def-TZVP", "cc-pVTZ"):
        assert not is_relativistic(name), name
    assert sets_covering(frozenset({"H", "Nd"}), relativistic=True)[0].startswith("x2c-")
