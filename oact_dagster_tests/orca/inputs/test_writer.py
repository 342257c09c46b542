"""Whole inputs, line by line."""

import dataclasses

import pytest

from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.scf_method import ScfMethod
from oact_dagster.orca.inputs.writer import (
    InputSettings,
    check_settings,
    estimate_maxcore,
    input_hash,
    maxcore_of,
    number_of_basis_functions,
    render_input,
)
from oact_dagster.orca.structure import Structure

URANYL = Structure(parse_geometry("U 0 0 0\nO 0 0 1.76\nO 0 0 -1.76"), 2, 0)
WATER = Structure(parse_geometry("O 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692"), 0, 0)
NEODYMIUM_TRIFLUORIDE = Structure(
    parse_geometry("Nd 0 0 0\nF 2.1 0 0\nF -1.05 1.82 0\nF -1.05 -1.82 0"), 0, 3
)

X2C = InputSettings(
    simple_input="x2c", actinide_basis="SARC-DKH-TZVP", non_actinide_basis="x2c-TZVPall", n_cores=8
)
DK3 = InputSettings(
    simple_input="dk3", actinide_basis="SARC-DKH-TZVP", non_actinide_basis="DKH-def2-TZVP", n_cores=8
)

PROPERTIES = """\
%elprop
  Dipole true
  Quadrupole true
end
%output
  Print[P_ReducedOrbPopMO_L] 1
  Print[P_ReducedOrbPopMO_M] 1
  Print[P_BondOrder_L] 1
  Print[P_BondOrder_M] 1
  Print[P_Fockian] 1
  Print[P_OrbEn] 2
end
"""

URANYL_OMOL = f"""\
! wB97M-V def2-TZVPD EnGrad RIJCOSX def2/J NoUseSym DIIS NOSOSCF NormalConv DEFGRID3 ALLPOP NoTRAH NONBO NONPA
%scf
  Convergence Tight
  maxiter 500
  THRESH 1e-12
  TCUT 1e-13
  Shift Shift 0.1 ErrOff 0.1 end
  DIISMaxEq 7
  Guess PModel
end
{PROPERTIES}\
%basis
  NewGTO O "def2-TZVPD" end
  NewGTO U "ma-def-TZVP" end
  NewECP U "def-ECP" end
end
%pal
  nprocs 8
end
%maxcore 2000
* xyz 2 1
U 0.000000 0.000000 0.000000
O 0.000000 0.000000 1.760000
O 0.000000 0.000000 -1.760000
*
"""

URANYL_X2C = f"""\
! wB97M-V x2c-TZVPall DLU-X2C EnGrad RIJCOSX AutoAux NoUseSym DIIS NOSOSCF NormalConv DEFGRID3 ALLPOP NoTRAH \
NONBO NONPA
%rel
  FiniteNuc true
  DLU true
  LightAtomThresh 0
end
%scf
  Convergence Tight
  maxiter 500
  THRESH 1e-12
  TCUT 1e-13
  Shift Shift 0.1 ErrOff 0.1 end
end
{PROPERTIES}\
%basis
  NewGTO O "x2c-TZVPall" end
  NewGTO U "SARC-DKH-TZVP" end
end
%pal
  nprocs 8
end
%maxcore 2000
* xyz 2 1
U 0.000000 0.000000 0.000000
O 0.000000 0.000000 1.760000
O 0.000000 0.000000 -1.760000
*
"""

URANYL_DK3 = f"""\
! wB97M-V DKH-def2-TZVP DKH EnGrad RIJCOSX SARC/J NoUseSym DIIS NOSOSCF NormalConv DEFGRID3 ALLPOP NoTRAH \
NONBO NONPA
%rel
  FiniteNuc true
end
%scf
  Convergence Tight
  maxiter 500
  THRESH 1e-12
  TCUT 1e-13
  Shift Shift 0.1 ErrOff 0.1 end
end
{PROPERTIES}\
%basis
  NewGTO O "DKH-def2-TZVP" end
  NewGTO U "SARC-DKH-TZVP" end
end
%pal
  nprocs 8
end
%maxcore 2000
* xyz 2 1
U 0.000000 0.000000 0.000000
O 0.000000 0.000000 1.760000
O 0.000000 0.000000 -1.760000
*
"""

WATER_OPT = f"""\
! PBE0 D4 def2-TZVPD Opt RIJCOSX def2/J NoUseSym DIIS NOSOSCF NormalConv DEFGRID3 ALLPOP NoTRAH NONBO NONPA
%scf
  Convergence Tight
  maxiter 200
  THRESH 1e-12
  TCUT 1e-13
  Shift Shift 0.1 ErrOff 0.1 end
  DIISMaxEq 7
  Guess PModel
end
{PROPERTIES}\
%basis
  NewGTO H "def2-TZVPD" end
  NewGTO O "def2-TZVPD" end
end
%pal
  nprocs 4
end
%maxcore 3500
%geom MaxIter 99 end
* xyz 0 1
O 0.000000 0.000000 0.117300
H 0.000000 0.757200 -0.469200
H 0.000000 -0.757200 -0.469200
*
"""

NEODYMIUM_OMOL = f"""\
! wB97M-V def2-TZVPD EnGrad RIJCOSX def2/J NoUseSym DIIS NOSOSCF NormalConv DEFGRID3 ALLPOP NoTRAH NONBO NONPA
%scf
  Convergence Tight
  maxiter 500
  THRESH 1e-12
  TCUT 1e-13
  Shift Shift 0.1 ErrOff 0.1 end
  DIISMaxEq 7
  Guess PModel
end
{PROPERTIES}\
%basis
  NewGTO F "def2-TZVPD" end
  NewGTO Nd "def2-TZVPD" end
end
%pal
  nprocs 4
end
%maxcore 2000
* xyz 0 4
Nd 0.000000 0.000000 0.000000
F 2.100000 0.000000 0.000000
F -1.050000 1.820000 0.000000
F -1.050000 -1.820000 0.000000
*
"""

URANYL_FILE_DK3 = f"""\
! wB97M-V DKH NoECP EnGrad RIJCOSX SARC/J NoUseSym DIIS NOSOSCF NormalConv DEFGRID3 ALLPOP NoTRAH NONBO NONPA
%rel
  FiniteNuc true
end
%scf
  Convergence Tight
  maxiter 500
  THRESH 1e-12
  TCUT 1e-13
  Shift Shift 0.1 ErrOff 0.1 end
end
{PROPERTIES}\
%basis
  GTOName "/sets/light elements.bas"
  NewGTO U "SARC-DKH-TZVP" end
end
%pal
  nprocs 4
end
%maxcore 2000
* xyz 2 1
U 0.000000 0.000000 0.000000
O 0.000000 0.000000 1.760000
O 0.000000 0.000000 -1.760000
*
"""


@pytest.mark.parametrize(
    ("structure", "settings", "expected"),
    [
        (URANYL, InputSettings(n_cores=8), URANYL_OMOL),
        (URANYL, X2C, URANYL_X2C),
        (URANYL, DK3, URANYL_DK3),
        (
            WATER,
            InputSettings(
                functional="PBE0 D4",
                opt=True,
                scf_maxiter=200,
                maxcore=3500,
                extra_lines=("%geom MaxIter 99 end",),
            ),
            WATER_OPT,
        ),
        (NEODYMIUM_TRIFLUORIDE, InputSettings(), NEODYMIUM_OMOL),
        (
            URANYL,
            InputSettings(
                simple_input="dk3",
                actinide_basis="SARC-DKH-TZVP",
                non_actinide_basis="/sets/light elements.bas",
            ),
            URANYL_FILE_DK3,
        ),
    ],
    ids=["omol", "x2c", "dk3", "opt of a light molecule", "lanthanide", "file as basis"],
)
def test_whole_input(structure, settings, expected):
    assert render_input(structure, settings) == expected


def keywords(structure, **settings):
    first = render_input(structure, InputSettings(**settings)).splitlines()[0]
    assert first.startswith("! ")
    return first.split()[1:]


def test_opt_stands_where_engrad_stands_and_nothing_else_changes():
    single, optimised = (render_input(URANYL, InputSettings(opt=opt)) for opt in (False, True))
    assert optimised == single.replace(" EnGrad ", " Opt ", 1)


def test_options_replace_what_they_contradict():
    plain = keywords(URANYL)
    words = keywords(URANYL, nbo=True, mbis=True, kdiis=True)
    assert set(words) - set(plain) == {"NBO", "MBIS", "KDIIS"}
    assert set(plain) - set(words) == {"NONBO", "NONPA", "DIIS"}
    assert len(words) == len(set(words))
    assert words.index("KDIIS") == plain.index("DIIS")


def test_an_actinide_basis_from_a_file():
    text = render_input(URANYL, InputSettings(actinide_basis="u.bas"))
    assert text.splitlines()[0].split()[2] == "def2-TZVPD"
    assert '%basis\n  GTOName "u.bas"\n  NewGTO O "def2-TZVPD" end\n  NewECP U "def-ECP" end\nend\n' in text


def test_one_file_for_all_elements():
    settings = InputSettings(simple_input="x2c", actinide_basis="all.bas", non_actinide_basis="all.bas")
    text = render_input(URANYL, settings)
    assert '%basis\n  GTOName "all.bas"\nend\n' in text
    assert text.splitlines()[0].split()[1:4] == ["wB97M-V", "DLU-X2C", "NoECP"]


def test_elements_are_sorted_and_atoms_are_not():
    geometry = parse_geometry("U 0 0 0\nO 0 0 2\nCl 0 3 0\nC 3 0 0\nO 0 0 -2")
    lines = render_input(Structure(geometry, 1, 0), InputSettings()).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  NewGTO")] == ["C", "Cl", "O", "U"]
    coordinates = lines[lines.index("* xyz 1 1") + 1 : -1]
    assert [line.split()[0] for line in coordinates] == ["U", "O", "Cl", "C", "O"]


def rotation(structure, **settings):
    lines = render_input(structure, InputSettings(uks_singlet=True, **settings)).splitlines()
    scf = lines[lines.index("%scf") : lines.index("%elprop")]
    assert scf[-1] == "end"
    return [line.strip() for line in scf if "rotate" in line.lower()]


def test_broken_singlet_counts_the_electrons_that_the_potential_leaves():
    # UO2 2+: 92 + 16 - 2 - 60 = 46 electrons, orbitals 0 to 22 are doubly occupied.
    assert rotation(URANYL) == ["rotate {22, 23, 20, 1, 1} end"]
    # All 106 electrons.
    relativistic = {
        "simple_input": "dk3",
        "actinide_basis": "SARC-DKH-TZVP",
        "non_actinide_basis": "DKH-def2-TZVP",
    }
    assert rotation(URANYL, **relativistic) == ["rotate {52, 53, 20, 1, 1} end"]
    assert rotation(WATER) == ["rotate {4, 5, 20, 1, 1} end"]
    # I2: 106 - 2 * 28 = 50 electrons; LaF3: 57 + 27 - 46 = 38; CeF4: 58 + 36 - 28 = 66.
    assert rotation(Structure(parse_geometry("I 0 0 0\nI 0 0 2.67"), 0, 0)) == [
        "rotate {24, 25, 20, 1, 1} end"
    ]
    lanthanum = parse_geometry("La 0 0 0\nF 2.1 0 0\nF -1 1.8 0\nF -1 -1.8 0")
    assert rotation(Structure(lanthanum, 0, 0)) == ["rotate {18, 19, 20, 1, 1} end"]
    cerium = parse_geometry("Ce 0 0 0\nF 2.1 0 0\nF -1 1.8 0\nF -1 -1.8 0\nF 0 0 2.1")
    assert rotation(Structure(cerium, 0, 0)) == ["rotate {32, 33, 20, 1, 1} end"]


def test_broken_singlet_is_unrestricted_and_others_are_left_alone():
    assert "UKS" in keywords(URANYL, uks_singlet=True)
    assert "UHF" in keywords(URANYL, uks_singlet=True, functional="HF")
    triplet = Structure(URANYL.geometry, 2, 2)
    assert render_input(triplet, InputSettings(uks_singlet=True)) == render_input(triplet, InputSettings())


def test_number_of_basis_functions_is_what_orca_prints():
    trifluoride = Structure(parse_geometry("Np 0 0 0\nF 0 0 2.06\nF 0 2 -0.5\nF 1.9 -0.64 -0.5"), 0, 4)
    assert number_of_basis_functions(URANYL, InputSettings()) == 183
    assert number_of_basis_functions(trifluoride, InputSettings()) == 223


def test_memory_by_the_fit_of_open_molecules():
    assert estimate_maxcore(183, open_shell=False) == 2000
    assert estimate_maxcore(10_000, open_shell=False) == 7670 + 361
    assert estimate_maxcore(10_000, open_shell=True) == 16460 - 320
    assert estimate_maxcore(1, open_shell=True) == 2000


def test_memory_of_a_large_open_shell_structure_is_written():
    atoms = "".join(f"O {3 * i} {3 * j} {3 * k}\n" for i in range(5) for j in range(5) for k in range(4))
    geometry = parse_geometry(atoms)
    closed = render_input(Structure(geometry, 0, 0), InputSettings())
    opened = render_input(Structure(geometry, 0, 2), InputSettings())
    # 100 atoms of 40 functions: 0.01646 * 4000^1.5 - 320 = 3844.04
    assert "\n%maxcore 2302\n" in closed  # 0.00767 * 4000^1.5 + 361 = 2301.37
    assert "\n%maxcore 3845\n" in opened
    assert "\n%maxcore 3845\n" in render_input(Structure(geometry, 0, 0), InputSettings(uks_singlet=True))
    assert "\n%maxcore 100\n" in render_input(Structure(geometry, 0, 2), InputSettings(maxcore=100))


COMMENTS = [
    "token: 4f1c",
    "name: Páez — trans-[UO2]",
    "evil\n%maxcore 1\r! HF\x0b! HF\x0c! HF\x1c! HF\x85! HF\u2028! HF\u2029! HF\x00",
    "closed # ! HF STO-3G",
    "$new_job",
    "lone \ud800 surrogate",
    "",
    "x" * 500,
]


def test_comments_stay_comments():
    text = render_input(URANYL, InputSettings(n_cores=8), COMMENTS)
    lines = text.encode().decode().splitlines()
    assert len(lines) == len(COMMENTS) + len(URANYL_OMOL.splitlines())
    top = lines[: len(COMMENTS)]
    assert all(line.startswith("#") and line.count("#") == 1 and len(line) <= 202 for line in top)
    assert top[:2] == ["# token: 4f1c", "# name: Páez — trans-[UO2]"]
    assert not any("$new_job" in line for line in top)
    assert "\n".join(lines[len(COMMENTS) :]) + "\n" == URANYL_OMOL


def test_the_hash_ignores_comments_and_cost_and_nothing_else():
    plain = input_hash(URANYL_OMOL)
    assert input_hash(render_input(URANYL, InputSettings(n_cores=8), COMMENTS)) == plain
    assert input_hash(URANYL_OMOL.replace("\n", "\r\n")) == plain
    assert input_hash(URANYL_OMOL.replace("1.760000", "1.770000")) != plain
    assert input_hash(URANYL_OMOL.replace("EnGrad", "Opt")) != plain
    assert len({plain, input_hash(URANYL_X2C), input_hash(URANYL_DK3)}) == 3
    # More processes and more memory give the same result.
    assert input_hash(render_input(URANYL, InputSettings(n_cores=64, maxcore=9999))) == plain
    assert input_hash(URANYL_OMOL.replace("%pal\n  nprocs 8\nend\n", "%PAL nprocs 2 end\n")) == plain
    assert input_hash(URANYL_OMOL.replace("%pal\n  nprocs 8\nend\n", "")) == plain
    assert input_hash(URANYL_OMOL.replace("maxiter 500", "maxiter 600")) != plain
    # A block without an end takes nothing with it.
    unended = URANYL_OMOL.replace("%pal\n  nprocs 8\nend\n", "%pal nprocs 2\n")
    assert input_hash(unended) == plain
    assert input_hash(unended.replace("* xyz 2 1", "* xyz 2 3")) != plain


def test_the_hash_of_a_basis_file_is_that_of_its_name():
    def of(file):
        return input_hash(render_input(URANYL, InputSettings(actinide_basis=file)))

    assert of("/home/one/sets/u.bas") == of("/scratch/two three/u.bas") == of("u.bas")
    assert of("/home/one/sets/u.bas") != of("/home/one/sets/v.bas")


def test_a_restart_reads_the_orbitals_and_makes_no_guess():
    settings = InputSettings(n_cores=8, scf=ScfMethod(restart=True))
    expected = URANYL_OMOL.replace("NONBO NONPA\n", 'NONBO NONPA MORead\n%moinp "restart.gbw"\n', 1)
    assert render_input(URANYL, settings) == expected.replace("  Guess PModel\n", "", 1)
    broken = dataclasses.replace(settings, uks_singlet=True)
    words = render_input(URANYL, broken).splitlines()[0].split()
    assert "UKS" in words
    assert "rotate" not in render_input(URANYL, broken)
    for plain, text in ((X2C, URANYL_X2C), (DK3, URANYL_DK3)):
        again = dataclasses.replace(plain, scf=ScfMethod(restart=True))
        expected = text.replace("NONBO NONPA\n", 'NONBO NONPA MORead\n%moinp "restart.gbw"\n', 1)
        assert render_input(URANYL, again) == expected


@pytest.mark.parametrize(
    ("method", "replaced"),
    [
        (ScfMethod(), {}),
        (ScfMethod(damping="SlowConv"), {"NormalConv": "SlowConv"}),
        (ScfMethod(damping="VerySlowConv"), {"NormalConv": "VerySlowConv"}),
        (ScfMethod(accelerator="KDIIS"), {"DIIS": "KDIIS"}),
        (ScfMethod(soscf=True), {"NOSOSCF": "SOSCF"}),
        (ScfMethod(accelerator="KDIIS", soscf=True), {"DIIS": "KDIIS", "NOSOSCF": "SOSCF"}),
        (ScfMethod(accelerator="TRAH"), {"DIIS": None, "NoTRAH": "TRAH"}),
    ],
)
def test_an_scf_method_replaces_words_in_their_places(method, replaced):
    plain = keywords(URANYL)
    expected = [replaced.get(word, word) for word in plain]
    assert keywords(URANYL, scf=method) == [word for word in expected if word]
    # It stands over kdiis, which is the template's other accelerator.
    assert keywords(URANYL, scf=method, kdiis=True) == keywords(URANYL, scf=method)


def test_what_is_written_as_maxcore_is_known():
    for settings in (InputSettings(), InputSettings(maxcore=123), InputSettings(uks_singlet=True)):
        maxcore = maxcore_of(NEODYMIUM_TRIFLUORIDE, settings)
        assert f"\n%maxcore {maxcore}\n" in render_input(NEODYMIUM_TRIFLUORIDE, settings)


def test_warnings():
    assert check_settings(InputSettings(), URANYL.elements) == []
    assert check_settings(X2C, URANYL.elements) == []
    assert check_settings(DK3, URANYL.elements) == []
    assert check_settings(InputSettings(), {"Nd", "F", "La"}) == [
        "def2-TZVPD covers Nd only from ORCA 6.1 on"
    ]
    assert check_settings(InputSettings(non_actinide_basis="madeup-TZ"), {"H"}) == [
        "unknown basis madeup-TZ: cannot check whether it covers every element"
    ]
    # It stands on the "!" line, also where no element has it.
    assert check_settings(InputSettings(non_actinide_basis="madeup-TZ"), {"U"}) == [
        "unknown basis madeup-TZ: cannot check whether it covers every element"
    ]
    assert check_settings(InputSettings(actinide_ecp="my-ECP"), {"U"}) == [
        "unknown core potential my-ECP: cannot check whether it covers every actinide"
    ]
    assert check_settings(InputSettings(non_actinide_basis="DKH-def2-TZVP"), {"O"}) == [
        "DKH-def2-TZVP is contracted for a relativistic Hamiltonian, but omol uses none"
    ]
    assert check_settings(InputSettings(functional="wB97MV"), {"O"}) == [
        "unknown functional wB97MV (did you mean wB97M-V?): ORCA refuses a name that it does not know"
    ]
    assert check_settings(InputSettings(simple_input="x2c"), {"H", "O"}) == [
        "def2-TZVPD is not contracted for a relativistic Hamiltonian, but x2c uses one"
    ]
    assert check_settings(InputSettings(non_actinide_basis="a.bas"), {"H", "I"}) == [
        "non_actinide_basis is a file, but ORCA still puts its def2-ECP on I: the file must be made for it"
    ]


@pytest.mark.parametrize(
    ("settings", "changes", "warning"),
    [
        (
            DK3,
            {"actinide_basis": "SARC-ZORA-TZVP"},
            "SARC-ZORA-TZVP is contracted for ZORA, but dk3 uses DKH",
        ),
        (
            DK3,
            {"non_actinide_basis": "ZORA-def2-TZVP"},
            "ZORA-def2-TZVP is contracted for ZORA, but dk3 uses",
        ),
        (DK3, {"non_actinide_basis": "x2c-TZVPall"}, "x2c-TZVPall is contracted for X2C, but dk3 uses DKH"),
        (
            X2C,
            {"non_actinide_basis": "DKH-def2-TZVP"},
            "DKH-def2-TZVP is contracted for DKH, but x2c uses DLU-X2C",
        ),
        (X2C, {"non_actinide_basis": "ma-ZORA-def2-SVP"}, "ma-ZORA-def2-SVP is contracted for ZORA, but x2c"),
        (
            X2C,
            {"actinide_basis": "SARC-ZORA-TZVP"},
            "SARC-ZORA-TZVP is contracted for ZORA, but x2c uses DLU-X2C",
        ),
        (X2C, {"actinide_basis": "ANO-RCC-TZP"}, None),
        (DK3, {"actinide_basis": "ANO-RCC-TZP"}, None),
    ],
)
def test_a_contraction_for_another_hamiltonian(settings, changes, warning):
    found = check_settings(dataclasses.replace(settings, **changes), URANYL.elements)
    assert [line.startswith(warning) for line in found] == [True] if warning else found == []


@pytest.mark.parametrize(
    ("functional", "meant"),
    [
        ("PBE0", None),
        ("RKS pbe0 D4", None),
        ("HF", None),
        ("B3LYP/G D3BJ", None),
        ("DLPNO-B2PLYP", None),
        ("LibXC(PBE0)", None),
        ("wB97MV", "wB97M-V"),
        ("PBE0-D4", "PBE0 D4"),
        ("B3LYP-D3BJ", "B3LYP D3BJ"),
        ("UKS B3LPY", "B3LYP"),
    ],
)
def test_a_functional_in_no_table(functional, meant):
    found = check_settings(InputSettings(functional=functional), {"O"})
    assert [f"(did you mean {meant}?)" in line for line in found] == [True] if meant else found == []


def test_a_guess_of_the_users_own_takes_the_place_of_the_templates():
    plain = render_input(URANYL, InputSettings())
    for lines in (("! MORead", '%moinp "/orbitals/u.gbw"'), ("! PAtom",)):
        text = render_input(URANYL, InputSettings(extra_lines=lines))
        assert set(plain.splitlines()) - set(text.splitlines()) == {"  Guess PModel"}
        assert set(text.splitlines()) - set(plain.splitlines()) == set(lines)


def test_a_broken_singlet_with_potentials_that_come_with_the_basis():
    iodine = Structure(parse_geometry("I 0 0 0\nI 0 0 2.67"), 0, 0)
    # def2-mTZVP is in no table, but every def2 set brings def2-ECP; cc-pVTZ-PP brings 28 electrons, too.
    for basis in ("def2-mTZVP", "cc-pVTZ-PP"):
        assert rotation(iodine, non_actinide_basis=basis) == ["rotate {24, 25, 20, 1, 1} end"]
    assert rotation(iodine, non_actinide_basis="ANO-RCC-TZP") == ["rotate {52, 53, 20, 1, 1} end"]
    # Up to Kr next to no set has a potential.
    assert rotation(WATER, non_actinide_basis="foo") == ["rotate {4, 5, 20, 1, 1} end"]
