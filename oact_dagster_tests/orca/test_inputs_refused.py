"""What no input is written from, and with which words."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oact_dagster.orca.elements import ATOMIC_NUMBERS, SYMBOLS
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs import InputRefused, InputSettings, check_settings, render_input
from oact_dagster.orca.structure import Structure, StructureError

RELATIVISTIC = {
    "simple_input": "dk3",
    "actinide_basis": "SARC-DKH-TZVP",
    "non_actinide_basis": "DKH-def2-TZVP",
}
X2C = {"simple_input": "x2c", "actinide_basis": "SARC-DKH-TZVP", "non_actinide_basis": "x2c-TZVPall"}


@pytest.mark.parametrize(
    ("changes", "elements", "message"),
    [
        # A core potential with a relativistic Hamiltonian, named or implicit.
        (
            RELATIVISTIC | {"actinide_ecp": "def-ECP"},
            "U O",
            "actinide_ecp def-ECP is a core potential, and dk3 treats all electrons (DKH); leave it out",
        ),
        (
            X2C | {"non_actinide_basis": "def2-TZVPD"},
            "U O Nd",
            "def2-TZVPD brings def2-ECP for Nd, and x2c treats all electrons (DLU-X2C); "
            "name as non_actinide_basis x2c-TZVPall",
        ),
        (
            RELATIVISTIC | {"non_actinide_basis": "ma-def2-TZVP"},
            "H I",
            "ma-def2-TZVP brings def2-ECP for I, and dk3 treats all electrons (DKH); name as non_actinide",
        ),
        (
            RELATIVISTIC | {"actinide_basis": "ma-def-TZVP"},
            "U O",
            "ma-def-TZVP brings def-ECP for U, and dk3 treats all electrons (DKH); "
            "name as actinide_basis SARC-DKH-TZVP",
        ),
        (
            X2C | {"non_actinide_basis": "LANL2DZ"},
            "U O",
            "LANL2DZ brings HayWadt for U, and x2c treats all electrons (DLU-X2C); name as non_actinide",
        ),
        # An actinide without a basis.
        (
            {"simple_input": "x2c"},
            "U O",
            "x2c has no basis of its own for U; name as actinide_basis SARC-DKH-TZVP",
        ),
        (
            {"simple_input": "dk3", "non_actinide_basis": "DKH-def2-TZVP"},
            "Bk Cf H",
            "dk3 has no basis of its own for Bk, Cf; name as actinide_basis SARC-DKH-TZVP",
        ),
        # Coverage.
        (
            {"actinide_basis": "def2-TZVP"},
            "U O",
            "def2-TZVP has no functions for U (it covers H-Rn); name as actinide_basis ma-def-TZVP",
        ),
        (
            {},
            "Ra Cl",
            "def2-TZVPD has no functions for Ra (it covers H-Rn); "
            "name as non_actinide_basis a file: no known set",
        ),
        (
            RELATIVISTIC,
            "H Nd",
            "DKH-def2-TZVP has no functions for Nd (it covers H-Kr); name as non_actinide_basis ANO-RCC-TZP",
        ),
        (
            X2C | {"actinide_basis": "ANO-RCC-TZP"},
            "Bk H",
            "ANO-RCC-TZP has no functions for Bk (it covers H-Cm); name as actinide_basis SARC-DKH-TZVP",
        ),
        (
            {"actinide_ecp": "def2-ECP"},
            "U O",
            "def2-ECP has no core potential for U; def-ECP has one for Ac-Lr",
        ),
        (
            RELATIVISTIC | {"non_actinide_basis": "ANO-RCC-TZP"},
            "Ra Cl",
            "the fitting basis of dk3 (SARC/J) has no functions for Ra; x2c generates its own (AutoAux)",
        ),
        # Values that are no such thing.
        ({"simple_input": "omol2"}, "O", "simple_input is 'omol2'; expected one of omol, x2c, dk3"),
        ({"n_cores": 0}, "O", "n_cores is 0; expected a whole number, 1 or more"),
        ({"n_cores": -4}, "O", "n_cores is -4; expected a whole number, 1 or more"),
        ({"n_cores": True}, "O", "n_cores is True; expected a whole number, 1 or more"),
        ({"scf_maxiter": 0}, "O", "scf_maxiter is 0; expected a whole number, 1 or more"),
        ({"maxcore": 1.5}, "O", "maxcore is 1.5; expected a whole number, 1 or more"),
        ({}, "O Uuo", "unknown element 'Uuo'; expected symbols from H to Lr"),
        ({"functional": ""}, "O", "functional is ''; expected a name"),
        ({"functional": "PBE0\n%maxcore 1"}, "O", "functional is 'PBE0\\n%maxcore 1'; quotes"),
        ({"functional": "PBE0 # D4"}, "O", "functional is 'PBE0 # D4'; quotes"),
        ({"functional": "PBE0 %scf"}, "O", "functional is 'PBE0 %scf'; expected a name as ORCA's manual"),
        ({"non_actinide_basis": 'x" end'}, "O", "non_actinide_basis is 'x\" end'; quotes"),
        ({"non_actinide_basis": "/a/b\tc.bas"}, "O", "non_actinide_basis is '/a/b\\tc.bas'; quotes"),
        (
            {"non_actinide_basis": "def2-TZVP def2-SVP"},
            "O",
            "non_actinide_basis is 'def2-TZVP def2-SVP'; expected",
        ),
        (
            {"non_actinide_basis": "def2/J"},
            "O",
            "non_actinide_basis is def2/J, a fitting basis; expected an orbital",
        ),
        ({"actinide_basis": "'ma-def-TZVP'"}, "O", "actinide_basis is \"'ma-def-TZVP'\"; quotes"),
        ({"actinide_basis": ""}, "O", "actinide_basis is ''; expected a name"),
        ({"actinide_ecp": "def ECP"}, "O", "actinide_ecp is 'def ECP'; expected a name"),
        (
            {"actinide_basis": "a.bas", "non_actinide_basis": "b.bas"},
            "U O",
            "actinide_basis and non_actinide_basis are two files, a.bas and b.bas; ORCA reads one",
        ),
        # A user's own keywords.
        ({"functional": "PBE0 ZORA"}, "O", "ZORA chooses a Hamiltonian, which simple_input does"),
        ({"functional": "PBE0 def2-SVP"}, "O", "def2-SVP is a basis set, which actinide_basis and"),
        ({"functional": "PBE0 RIJCOSX"}, "O", "the keyword RIJCOSX would be there twice"),
        ({"functional": "RKS PBE0", "uks_singlet": True}, "O", "the keywords RKS and UKS exclude each other"),
        ({"extra_lines": ("! SlowConv",)}, "O", "the keywords NORMALCONV and SLOWCONV exclude each other"),
        ({"extra_lines": ("! KDIIS",)}, "O", "the keywords DIIS and KDIIS exclude each other"),
        ({"extra_lines": ("! Opt",)}, "O", "the keywords ENGRAD and OPT exclude each other"),
        ({"extra_lines": ("! PAL8",)}, "O", "PAL8 chooses the number of processes, which n_cores does"),
        ({"extra_lines": ("! LooseSCF",)}, "O", "LooseSCF chooses the SCF threshold"),
        ({"extra_lines": ("# aside # ! DKH",)}, "O", "DKH chooses a Hamiltonian"),
        (
            {"extra_lines": ("%pal nprocs 2 end",)},
            "O",
            "the extra line '%pal nprocs 2 end' sets what n_cores sets",
        ),
        (
            {"extra_lines": ("%geom MaxIter 9 end %MaxCore 9",)},
            "O",
            "the extra line '%geom MaxIter 9 end %MaxCore 9'",
        ),
        ({"extra_lines": ('%basis NewECP U "x" end end',)}, "O", "the extra line '%basis NewECP U"),
        ({"extra_lines": ("*xyz 0 1",)}, "O", "the extra line '*xyz 0 1' begins other coordinates"),
        (
            {"extra_lines": ("$new_job",)},
            "O",
            "the extra line '$new_job' begins other coordinates, another job",
        ),
        ({"extra_lines": ("a\nb",)}, "O", "the extra line 'a\\nb' is empty or has a newline"),
        ({"extra_lines": (" ",)}, "O", "the extra line ' ' is empty"),
    ],
)
def test_settings_refused_with_one_clear_line(changes, elements, message):
    with pytest.raises(InputRefused) as refusal:
        check_settings(InputSettings(**changes), elements.split())
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value).splitlines()) == 1


def test_what_a_refusal_names_instead_is_accepted():
    for elements in ({"U", "O", "Nd"}, {"U", "I", "H"}, {"Bk", "La", "C"}):
        for changes in ({"simple_input": "x2c"}, {"simple_input": "dk3"}):
            current = InputSettings(**changes)
            for _ in range(3):
                try:
                    check_settings(current, elements)
                    break
                except InputRefused as refusal:
                    what, name = str(refusal).partition("name as ")[2].replace(",", "").split()[:2]
                    current = dataclasses.replace(current, **{what: name})
            assert check_settings(current, elements) == []


def test_extra_lines_are_a_list():
    with pytest.raises(InputRefused, match="extra_lines is '! SlowConv'; expected a list of lines"):
        InputSettings(extra_lines="! SlowConv")
    assert InputSettings(extra_lines=["# a"]) == InputSettings(extra_lines=("# a",))


def structure(text, charge, uhf):
    return Structure(parse_geometry(text), charge, uhf)


@pytest.mark.parametrize(
    ("atoms", "charge", "uhf", "changes", "message"),
    [
        # 59 electrons beside a core of 60, and 9 electrons of which 37 would be unpaired.
        ("U 0 0 0", 33, 1, {}, "U with charge +33 and uhf 1 keeps -1 electrons beside the core potentials"),
        ("Rb 0 0 0", 0, 37, {}, "Rb with charge +0 and uhf 37 keeps 9 electrons beside the core potentials"),
        ("U 0 0 0", 32, 0, {}, "U with charge +32 and uhf 0 keeps 0 electrons beside the core potentials"),
        (
            "H 0 0 0",
            -51,
            0,
            {},
            "H with charge -51 and uhf 0 needs 26 orbitals of one spin, and the basis has 9",
        ),
        (
            "I 0 0 0\nI 0 0 2.7",
            0,
            0,
            {"non_actinide_basis": "LANL2DZ", "uks_singlet": True},
            "uks_singlet needs the electrons that the core potentials of I2 with charge +0 and uhf 0 replace",
        ),
    ],
)
def test_electrons_that_fit_neither_potentials_nor_basis(atoms, charge, uhf, changes, message):
    with pytest.raises(InputRefused) as refusal:
        render_input(structure(atoms, charge, uhf), InputSettings(**changes))
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value).splitlines()) == 1


# The potentials again, as ORCA's manual has them, so that the test does not believe the code's own table.
def electrons_replaced(element, text):
    z = ATOMIC_NUMBERS[element]
    if f'NewECP {element} "def-ECP"' in text:
        return 60
    if not text.startswith(("! wB97M-V def2-", "! wB97M-V ma-def2-")) or not 37 <= z <= 86:
        return 0
    return 46 if 55 <= z <= 57 else 60 if z >= 72 else 28


SETTINGS = st.sampled_from(
    [
        InputSettings(),
        InputSettings(non_actinide_basis="ma-def2-SVP"),
        InputSettings(non_actinide_basis="x2c-TZVPall"),
        InputSettings(**RELATIVISTIC),
        InputSettings(**X2C),
        InputSettings(**(X2C | {"non_actinide_basis": "def2-TZVPD"})),
        InputSettings(simple_input="dk3"),
        InputSettings(simple_input="x2c", actinide_basis="ma-def-TZVP"),
    ]
)


@settings(max_examples=800, deadline=None)
@given(
    symbols=st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=5),
    charge=st.integers(min_value=-8, max_value=8) | st.integers(min_value=-300, max_value=300),
    uhf=st.just(0) | st.integers(min_value=-1, max_value=8) | st.integers(min_value=0, max_value=300),
    right_parity=st.booleans(),
    chosen=SETTINGS,
    uks_singlet=st.booleans(),
)
def test_every_structure_gives_an_input_that_fits_or_a_refusal(
    symbols, charge, uhf, right_parity, chosen, uks_singlet
):
    if right_parity:  # else half of all examples are refused for it
        charge += (sum(map(ATOMIC_NUMBERS.__getitem__, symbols)) - charge - uhf) % 2
    atoms = "".join(f"{symbol} 0 0 {2.5 * i}\n" for i, symbol in enumerate(symbols))
    chosen = dataclasses.replace(chosen, uks_singlet=uks_singlet)
    try:
        text = render_input(structure(atoms, charge, uhf), chosen)
    except (StructureError, InputRefused) as refusal:
        assert len(str(refusal).splitlines()) == 1
        return
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("* xyz "))
    _, _, written_charge, multiplicity = lines[begin].split()
    assert [line.split()[0] for line in lines[begin + 1 : -1]] == symbols
    assert (int(written_charge), int(multiplicity)) == (charge, uhf + 1)
    electrons = sum(ATOMIC_NUMBERS[symbol] for symbol in symbols) - charge
    left = electrons - sum(electrons_replaced(symbol, text) for symbol in symbols)
    assert left >= max(1, uhf)
    assert (left - uhf) % 2 == 0
    assert [line.split()[1] for line in lines if "NewGTO" in line] == sorted(set(symbols))
    if "%rel" in lines:
        assert left == electrons
        assert "ECP" not in text
    rotated = [line for line in lines if "rotate" in line]
    if uks_singlet and uhf == 0:
        assert rotated == [f"  rotate {{{left // 2 - 1}, {left // 2}, 20, 1, 1}} end"]
    else:
        assert rotated == []
