"""What no input is written from, and with which words."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oact_dagster.errors import GeometryError, InputRefused, StructureError
from oact_dagster.orca.elements import ATOMIC_NUMBERS, SYMBOLS
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.keywords import _contradiction
from oact_dagster.orca.inputs.scf_method import DAMPINGS, ScfMethod
from oact_dagster.orca.inputs.writer import InputSettings, check_settings, render_input
from oact_dagster.orca.structure import Structure

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
            "actinide_ecp def-ECP is a core potential, but dk3 treats all electrons (DKH); leave it out",
        ),
        (
            X2C | {"non_actinide_basis": "def2-TZVPD"},
            "U O Nd",
            "def2-TZVPD brings def2-ECP for Nd, but x2c treats all electrons (DLU-X2C); "
            "for non_actinide_basis use x2c-TZVPall",
        ),
        (
            RELATIVISTIC | {"non_actinide_basis": "ma-def2-TZVP"},
            "H I",
            "ma-def2-TZVP brings def2-ECP for I, but dk3 treats all electrons (DKH); for non_actinide",
        ),
        (
            RELATIVISTIC | {"actinide_basis": "ma-def-TZVP"},
            "U O",
            "ma-def-TZVP brings def-ECP for U, but dk3 treats all electrons (DKH); "
            "for actinide_basis use SARC-DKH-TZVP",
        ),
        (
            X2C | {"non_actinide_basis": "LANL2DZ"},
            "U O",
            "LANL2DZ brings HayWadt for U, but x2c treats all electrons (DLU-X2C); for non_actinide",
        ),
        # An actinide without a basis.
        (
            {"simple_input": "x2c"},
            "U O",
            "x2c has no default basis for U; for actinide_basis use SARC-DKH-TZVP",
        ),
        (
            {"simple_input": "dk3", "non_actinide_basis": "DKH-def2-TZVP"},
            "Bk Cf H",
            "dk3 has no default basis for Bk, Cf; for actinide_basis use SARC-DKH-TZVP",
        ),
        # Coverage.
        (
            {"actinide_basis": "def2-TZVP"},
            "U O",
            "def2-TZVP has no functions for U (it covers H-Rn); for actinide_basis use ma-def-TZVP",
        ),
        (
            {},
            "Ra Cl",
            "def2-TZVPD has no functions for Ra (it covers H-Rn); "
            "for non_actinide_basis use a file: no known set",
        ),
        (
            RELATIVISTIC,
            "H Nd",
            "DKH-def2-TZVP has no functions for Nd (it covers H-Kr); for non_actinide_basis use ANO-RCC-TZP",
        ),
        (
            X2C | {"actinide_basis": "ANO-RCC-TZP"},
            "Bk H",
            "ANO-RCC-TZP has no functions for Bk (it covers H-Cm); for actinide_basis use SARC-DKH-TZVP",
        ),
        (
            {"actinide_ecp": "def2-ECP"},
            "U O",
            "def2-ECP has no core potential for U; def-ECP covers Ac-Lr",
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
        (
            {"functional": "PBE0 %scf"},
            "O",
            "functional is 'PBE0 %scf'; expected a name as spelled in ORCA's manual",
        ),
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
            "actinide_basis and non_actinide_basis are two files, a.bas and b.bas; ORCA reads only one",
        ),
        # A user's own keywords.
        ({"functional": "PBE0 ZORA"}, "O", "ZORA chooses a Hamiltonian; use simple_input"),
        ({"functional": "PBE0 def2-SVP"}, "O", "def2-SVP is a basis set; use actinide_basis and"),
        ({"functional": "PBE0 RIJCOSX"}, "O", "the keyword RIJCOSX would appear twice"),
        ({"functional": "RKS PBE0", "uks_singlet": True}, "O", "the keywords RKS and UKS exclude each other"),
        ({"extra_lines": ("! SlowConv",)}, "O", "the keywords NORMALCONV and SLOWCONV exclude each other"),
        ({"extra_lines": ("! KDIIS",)}, "O", "the keywords DIIS and KDIIS exclude each other"),
        ({"extra_lines": ("! Opt",)}, "O", "the keywords ENGRAD and OPT exclude each other"),
        ({"extra_lines": ("! PAL8",)}, "O", "PAL8 chooses the number of processes; use n_cores"),
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
        ({"extra_lines": ("*xyz 0 1",)}, "O", "the extra line '*xyz 0 1' begins new coordinates"),
        (
            {"extra_lines": ("$new_job",)},
            "O",
            "the extra line '$new_job' begins new coordinates, a new job",
        ),
        # Keywords that choose core potentials, methods and bases that bring them.
        *(
            (
                X2C | {"extra_lines": (f"! {word}",)},
                "U O",
                f"{word} chooses core potentials, but x2c treats all electrons (DLU-X2C); remove it",
            )
            for word in (
                "SK-MCDHF-RSC",
                "def2-SD",
                "dhf-ECP",
                "HayWadt",
                "SDD",
                "def2ECP",
                "vDZP-ECP",
                "SD(60,MWB)",
                "my-ECP",
            )
        ),
        (
            X2C | {"extra_lines": ("! ECP{LANL2}",)},
            "U O",
            "ECP chooses core potentials, but x2c treats all electrons",
        ),
        (X2C | {"functional": "PBE0 HayWadt"}, "U O", "HayWadt chooses core potentials, but x2c treats all"),
        (
            {"extra_lines": ("! SDD",)},
            "O",
            "SDD chooses core potentials; use actinide_ecp and the bases",
        ),
        (RELATIVISTIC | {"extra_lines": ("! vDZP",)}, "O", "vDZP is a basis set; use actinide_basis and"),
        ({"extra_lines": ("! cc-pVTZ-PP",)}, "O", "cc-pVTZ-PP is a basis set; use actinide_basis and"),
        *(
            (
                template | {"functional": word},
                "U O",
                f"{word} is a composite method with its own basis and core pot",
            )
            for word in ("wB97X-3c", "r2SCAN-3c", "B97-3c", "PBEh-3c", "HF-3c", "B3LYP-3c", "pbeh3c")
            for template in ({}, X2C, RELATIVISTIC)
        ),
        (
            {"extra_lines": ("! r2SCAN-3c",)},
            "O",
            "r2SCAN-3c is a composite method with its own basis and core",
        ),
        *(
            (
                RELATIVISTIC | {"non_actinide_basis": basis},
                "I O",
                f"{basis} brings {brought}, but dk3 treats all electrons (DKH); for non_actinide_basis use ANO-RCC-TZP",
            )
            for basis, brought in (
                ("SDD", "its core potential for I"),
                ("CRENBL", "CRENBL-ECP for I"),
                ("LANL08", "HayWadt for I"),
                ("Stuttgart", "a Stuttgart potential for I"),
                ("vDZP", "vDZP-ECP for I"),
                ("aug-cc-pVTZ-PP", "SK-MCDHF-RSC for I"),
                ("cc-pVTZ-PP-F12", "SK-MCDHF-RSC for I"),
            )
        ),
        # A core potential with a basis that is not made for it.
        *(
            (
                {"actinide_basis": basis},
                "U O",
                f"{basis} describes all electrons of U, but def-ECP replaces 60 of them; for actinide_basis use "
                "ma-def-TZVP, def-TZVP, or a file, or for simple_input use x2c or dk3",
            )
            for basis in ("SARC-DKH-TZVP", "sarc-zora-tzvp", "ANO-RCC-TZP", "SARC2-DKH-QZVP", "cc-pVTZ-DK3")
        ),
        (
            {"actinide_basis": "SARC-DKH-TZVP", "actinide_ecp": "SD(78,MWB)"},
            "U O",
            "SARC-DKH-TZVP describes all electrons of U, but SD(78,MWB) replaces 78 of them; for actinide_basis use",
        ),
        (
            {"actinide_basis": "cc-pVTZ-PP"},
            "U O",
            "cc-pVTZ-PP on U is made for SK-MCDHF-RSC, not for def-ECP; for actinide_ecp use SK-MCDHF-RSC, or for",
        ),
        (
            {"actinide_ecp": "SK-MCDHF-RSC"},
            "U O",
            "ma-def-TZVP on U is made for def-ECP, not for SK-MCDHF-RSC; for actinide_ecp use def-ECP",
        ),
        (
            {"actinide_ecp": "SK-MCDHF-RSC"},
            "Np O",
            "SK-MCDHF-RSC has no core potential for Np; def-ECP covers",
        ),
        # Lines of one's own that change what the templates and the settings say.
        (
            {"extra_lines": ("%scf Convergence Loose end",)},
            "O",
            "the extra line '%scf Convergence Loose end' sets the SCF convergence, which every template",
        ),
        (
            {"extra_lines": ("%scf", "convergence=tight", "end")},
            "O",
            "the extra line 'convergence=tight' sets",
        ),
        (
            {"extra_lines": ("%scf maxiter 700 end",)},
            "O",
            "the extra line '%scf maxiter 700 end' sets what scf_maxiter sets; use scf_maxiter",
        ),
        (
            {"extra_lines": ("%method RunTyp Opt end",)},
            "O",
            "the extra line '%method RunTyp Opt end' sets what opt sets; use opt",
        ),
        (
            {"extra_lines": ("%method Functional PBE end",)},
            "O",
            "the extra line '%method Functional PBE end' sets what functional sets; use functional",
        ),
        (
            {"extra_lines": ("! PBE",)},
            "O",
            "PBE in extra_lines is a second functional beside wB97M-V; name one, in",
        ),
        ({"functional": "PBE0 PBE"}, "O", "functional names PBE0 and PBE; expected one functional"),
        (
            {"extra_lines": ("! BOHRS",)},
            "O",
            "BOHRS changes the unit of the coordinates, which are written in Å",
        ),
        (
            {"extra_lines": ("%coords Units Bohrs end",)},
            "O",
            "the extra line '%coords Units Bohrs end' begins",
        ),
        (
            {"extra_lines": ("! NRSCF",)},
            "O",
            "NRSCF chooses how the SCF converges; use kdiis and the steps",
        ),
        (
            X2C | {"extra_lines": ("! NoFiniteNuc",)},
            "U O",
            "NoFiniteNuc switches off the finite nuclei of x2c",
        ),
        ({"extra_lines": ("! MORead",)}, "O", "MORead needs a file of orbitals; add %moinp"),
        # Lines that take in others, or are no lines of an input.
        ({"extra_lines": ("end",)}, "O", "the extra line 'end' has an end without a block; expected ! and"),
        (
            {"extra_lines": ("%scf DampFac 0.9 end", "end")},
            "O",
            "the extra line 'end' has an end without a block",
        ),
        (
            {"extra_lines": ("%geom MaxIter 9 end end",)},
            "O",
            "the extra line '%geom MaxIter 9 end end' has an end",
        ),
        (
            {"extra_lines": ("TightOpt",)},
            "O",
            "the extra line 'TightOpt' has 'TightOpt' outside any block; expected !",
        ),
        (
            {"extra_lines": ("%scf",)},
            "O",
            "the extra line '%scf' opens %scf without its end, so the block would swallow the coordinates",
        ),
        (
            {"extra_lines": ("%scf DampFac 0.9", "! TightOpt")},
            "O",
            "the extra line '%scf DampFac 0.9' opens %scf",
        ),
        ({"extra_lines": ("%scf # end",)}, "O", "the extra line '%scf # end' opens %scf without its end"),
        (
            {"extra_lines": ("%geom Constraints {B 0 1 C} end",)},
            "O",
            "the extra line '%geom Constraints {B 0 1 C} end' opens %geom without its end",
        ),
        (
            {"extra_lines": ('%moinp "a.gbw',)},
            "O",
            "the extra line '%moinp \"a.gbw' has an unclosed quote",
        ),
        # What a remedy sets.
        ({"scf": ScfMethod(damping="Slow")}, "O", "damping is 'Slow'; expected one of NormalConv, SlowConv"),
        ({"scf": ScfMethod(accelerator="GDIIS")}, "O", "accelerator is 'GDIIS'; expected one of DIIS, KDIIS"),
        (
            {"scf": ScfMethod(accelerator="TRAH", soscf=True)},
            "O",
            "the keywords SOSCF and TRAH exclude each other",
        ),
        (
            {"scf": ScfMethod(restart=True), "extra_lines": ("! MORead",)},
            "O",
            "the keyword MOREAD would appear twice",
        ),
        (
            {"scf": ScfMethod(restart=True), "extra_lines": ("! PAtom",)},
            "O",
            "the keywords MOREAD and PATOM exclude each other",
        ),
        (
            {"scf": ScfMethod(restart=True), "extra_lines": ("%scf", "rotate {1, 2, 90, 0, 0} end end")},
            "O",
            "the extra line 'rotate {1, 2, 90, 0, 0} end end' sets what the restart from orbitals sets",
        ),
        (
            {"scf": ScfMethod(accelerator="TRAH"), "extra_lines": ("%scf AutoTRAH=false end",)},
            "O",
            "the extra line '%scf AutoTRAH=false end' sets what scf sets",
        ),
        (
            {"scf_maxiter": 9, "extra_lines": ("%scf MaxIter 10 end",)},
            "O",
            "the extra line '%scf MaxIter 10 end' sets what scf_maxiter sets",
        ),
        (
            {"uks_singlet": True, "extra_lines": ("%scf HFTyp RHF end",)},
            "O",
            "the extra line '%scf HFTyp RHF end' sets what uks_singlet sets; use uks_singlet",
        ),
        (
            {"uks_singlet": True, "extra_lines": ("%scf rotate {1, 2, 90, 0, 0} end end",)},
            "O",
            "the extra line '%scf rotate {1, 2, 90, 0, 0} end end' sets what uks_singlet sets",
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


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("TRAH DIIS", "the keywords DIIS and TRAH exclude each other"),
        ("kdiis trah", "the keywords KDIIS and TRAH exclude each other"),
        ("TRAH SOSCF", "the keywords SOSCF and TRAH exclude each other"),
        ("DIIS KDIIS", "the keywords DIIS and KDIIS exclude each other"),
        ("TRAH NOSOSCF NormalConv", None),
        ("KDIIS SOSCF NoTRAH", None),
    ],
)
def test_ways_to_convergence_that_exclude_each_other(words, wrong):
    assert _contradiction(words.split()) == wrong


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (lambda: parse_geometry(""), "geometry without atoms"),
        (lambda: parse_geometry("0\n\n"), "geometry without atoms"),
        (lambda: parse_geometry("3\n\nH 0 0 0"), "wrong atom count"),
        (lambda: parse_geometry("H 0 0"), "unreadable geometry"),
        (lambda: parse_geometry("Uuo 0 0 0"), "unknown element"),
        (lambda: parse_geometry("H 0 0 nan"), "invalid coordinate"),
        (lambda: parse_geometry("H 0 0 0\nH 0 0 0.1"), "two atoms on one spot"),
        (lambda: structure("H 0 0 0", 0, 0), "electron parity"),
        (lambda: structure("H 0 0 0", 1, 0), "too few electrons"),
        (lambda: structure("H 0 0 0", 0, 3), "too few electrons"),
        (lambda: structure("H 0 0 0", 0, -1), "negative uhf"),
        (lambda: structure("H 0 0 0", 0.5, 1), "charge is not a whole number"),
        (lambda: check_settings(InputSettings(n_cores=0), ["O"]), "impossible setting"),
        (lambda: check_settings(InputSettings(), ["Uuo"]), "unknown element"),
        (lambda: check_settings(InputSettings(simple_input="x2c"), ["U"]), "actinide without a basis"),
        (
            lambda: check_settings(InputSettings(), ["Ra"]),
            "basis without functions for an element",
        ),
        (
            lambda: check_settings(InputSettings(**RELATIVISTIC, actinide_ecp="def-ECP"), ["U"]),
            "core potential with a relativistic Hamiltonian",
        ),
        (
            lambda: check_settings(InputSettings(**X2C | {"non_actinide_basis": "def2-SVP"}), ["I"]),
            "core potential with a relativistic Hamiltonian",
        ),
        (
            lambda: check_settings(InputSettings(actinide_ecp="def2-ECP"), ["U"]),
            "no core potential for an element",
        ),
        (lambda: check_settings(InputSettings(extra_lines=("! KDIIS",)), ["O"]), "contradicting keywords"),
        (
            lambda: check_settings(InputSettings(extra_lines=("%maxcore 1",)), ["O"]),
            "keyword that belongs to a setting",
        ),
        (lambda: render_input(structure("U 0 0 0", 32, 0), InputSettings()), "too few electrons"),
        (
            lambda: render_input(structure("H 0 0 0", -51, 0), InputSettings()),
            "more electrons than the basis has room for",
        ),
    ],
)
def test_a_refusal_tells_its_kind(refused, kind):
    with pytest.raises((GeometryError, StructureError, InputRefused)) as refusal:
        refused()
    assert refusal.value.kind == kind


def test_what_a_refusal_names_instead_is_accepted():
    for elements in ({"U", "O", "Nd"}, {"U", "I", "H"}, {"Bk", "La", "C"}):
        for changes in ({"simple_input": "x2c"}, {"simple_input": "dk3"}):
            current = InputSettings(**changes)
            for _ in range(3):
                try:
                    check_settings(current, elements)
                    break
                except InputRefused as refusal:
                    what, _, name = str(refusal).partition("; for ")[2].replace(",", "").split()[:3]
                    current = dataclasses.replace(current, **{what: name})
            assert check_settings(current, elements) == []


@pytest.mark.parametrize(
    "lines",
    [
        ("%geom MaxIter 99 end",),
        ("%geom", "  Constraints {B 0 1 C} {A 1 0 2 C} end", "end"),
        ("%geom TS_Mode {M 0} end end",),
        ("%geom RelaxFrags {1} end end",),
        ("%scf Shift Shift 0.1 ErrOff 0.1 end end", "%scf DampFac 0.9 DampErr 0.1 end"),
        ("%scf rotate {1, 2, 90, 0, 0} end end",),
        ("%scf", "  Shift", "    Shift 0.1", "    ErrOff 0.1", "  end", "end", "! TightOpt"),
        ("! TightOpt ! CPCM(water) %geom MaxIter 9 end %elprop Polar 1 end",),
        ("%method NewNCore U 78 end end",),
        ('%cpcm smd true SMDsolvent "the end" end',),
        ('%nbo NBOKEYLIST = "$NBO NPA $END" end',),
        ('! TightOpt # not " % end', "# ! PBE"),
        ("! CPCM(water) def2/JK", "! MORead", '%moinp "/a b/u.gbw"'),
    ],
)
def test_lines_of_ones_own_that_are_right(lines):
    assert check_settings(InputSettings(extra_lines=lines), {"O"}) == []


@pytest.mark.parametrize("basis", ["foo", "SDD", "6-31G"])
def test_a_broken_singlet_needs_to_know_whether_the_basis_brings_a_potential(basis):
    with pytest.raises(
        InputRefused, match="a potential is unknown, or non_actinide_basis is, which may imply one"
    ):
        render_input(structure("Xe 0 0 0", 0, 0), InputSettings(non_actinide_basis=basis, uks_singlet=True))


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
        (
            "U 0 0 0",
            33,
            1,
            {},
            "U with charge +33 and uhf 1 has only -1 electrons beside the core potentials",
        ),
        (
            "Rb 0 0 0",
            0,
            37,
            {},
            "Rb with charge +0 and uhf 37 has only 9 electrons beside the core potentials",
        ),
        ("U 0 0 0", 32, 0, {}, "U with charge +32 and uhf 0 has only 0 electrons beside the core potentials"),
        (
            "H 0 0 0",
            -51,
            0,
            {},
            "H with charge -51 and uhf 0 needs 26 orbitals of one spin, but the basis has 9",
        ),
        (
            "I 0 0 0\nI 0 0 2.7",
            0,
            0,
            {"non_actinide_basis": "LANL2DZ", "uks_singlet": True},
            "uks_singlet needs to know how many electrons the core potentials of I2 with charge +0 and uhf 0 replace",
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
    scf=st.none()
    | st.builds(
        ScfMethod,
        damping=st.sampled_from(DAMPINGS),
        accelerator=st.sampled_from(["DIIS", "KDIIS"]),
        soscf=st.booleans(),
        restart=st.booleans(),
    )
    | st.builds(ScfMethod, accelerator=st.just("TRAH"), restart=st.booleans()),
)
def test_every_structure_gives_an_input_that_fits_or_a_refusal(
    symbols, charge, uhf, right_parity, chosen, uks_singlet, scf
):
    if right_parity:  # else half of all examples are refused for it
        charge += (sum(map(ATOMIC_NUMBERS.__getitem__, symbols)) - charge - uhf) % 2
    atoms = "".join(f"{symbol} 0 0 {2.5 * i}\n" for i, symbol in enumerate(symbols))
    chosen = dataclasses.replace(chosen, uks_singlet=uks_singlet, scf=scf)
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
    if uks_singlet and uhf == 0 and not (scf and scf.restart):
        assert rotated == [f"  rotate {{{left // 2 - 1}, {left // 2}, 20, 1, 1}} end"]
    else:
        assert rotated == []
