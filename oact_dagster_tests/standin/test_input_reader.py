"""What is read from an input, without any engine."""

import pytest

from oact_dagster.standin.input_reader import InputError, read_input

TEMPLATE = """# token: 0123
# metal_ox: 6.0
! wB97M-V def2-TZVPD EnGrad RIJCOSX NoUseSym
%scf
  Convergence Tight
  maxiter 300
  Shift Shift 0.1 ErrOff 0.1 end
end
%basis
  NewGTO U "ma-def-TZVP" end
end
%pal
  nprocs 8
end
%maxcore 2000
* xyz 2 1
U 0.0 0.0 0.0
O 0.0 0.0 1.76  # one oxygen
O 0.0 0.0 -1.76
*
"""


def test_an_input_as_the_templates_write_it() -> None:
    job = read_input(TEMPLATE)
    assert job.symbols == ("U", "O", "O")
    assert job.positions[1] == (0.0, 0.0, 1.76)
    assert (job.charge, job.multiplicity) == (2, 1)
    assert job.gradient
    assert job.opt_keyword is None
    assert (job.n_cores, job.scf_max_iterations, job.oxidation_state) == (8, 300, 6)


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        ("%pal\n  nprocs 8\nend", "%pal nprocs 4 end", "n_cores", 4),
        ("%pal\n  nprocs 8\nend", "%PAL NPROCS=4 END", "n_cores", 4),
        ("%pal\n  nprocs 8\nend", "! PAL3", "n_cores", 3),
        ("%pal\n  nprocs 8\nend", "# %pal nprocs 8 end", "n_cores", 1),
        ("  maxiter 300\n", "", "scf_max_iterations", 125),
        ("  maxiter 300\n", "  # maxiter 7\n", "scf_max_iterations", 125),
        ("%basis", "%geom\n  MaxIter 3\nend\n%basis", "opt_max_cycles", 3),
        ("EnGrad", "OPT", "opt_keyword", "OPT"),
        ("EnGrad", "tightopt", "opt_keyword", "TIGHTOPT"),
        ("EnGrad", "engrad", "gradient", True),
        ("EnGrad", "", "gradient", False),
        ("* xyz 2 1", "*xyz 2 1", "charge", 2),
        ("* xyz 2 1", "* XYZ -2 3", "multiplicity", 3),
        ("# metal_ox: 6.0", "#Oxidation_State : 4", "oxidation_state", 4),
        ("# metal_ox: 6.0", "# metal_ox:", "oxidation_state", None),
        ("U 0.0", "u(1) 0.0", "symbols", ("U", "O", "O")),
    ],
)
def test_variants(old: str, new: str, field: str, value: object) -> None:
    assert old in TEMPLATE
    assert getattr(read_input(TEMPLATE.replace(old, new)), field) == value


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (TEMPLATE, "", "no coordinates"),
        ("* xyz 2 1", "* xyz 2", r"line 16: expected '\* xyz CHARGE MULTIPLICITY'"),
        ("* xyz 2 1", "* xyzfile 2 1", r"line 16: expected '\* xyz CHARGE MULTIPLICITY'"),
        ("* xyz 2 1", "* xyz 2 one", "line 16: the multiplicity is not a whole number"),
        ("* xyz 2 1", "* xyz 2 0", "line 16: the multiplicity must be at least 1"),
        ("-1.76\n*\n", "-1.76\n", "do not end"),
        ("U 0.0", "Uu 0.0", "line 17: unknown element 'Uu'"),
        ("1.76  #", "up  #", "line 18: expected an element and three numbers"),
        ("1.76  #", "nan  #", "line 18: a coordinate is not finite"),
        ("nprocs 8", "nprocs many", "%pal nprocs needs a whole number"),
        ("maxiter 300", "maxiter 0", "%scf maxiter needs a whole number of at least 1"),
        ("# metal_ox: 6.0", "# metal_ox: 5.5", "line 2: the oxidation state is not a whole number"),
        ("-1.76\n*\n", "-1.76\n*\n$new_job\n", "new_job"),
        ("-1.76\n*\n", "-1.76\n*\n* xyz 0 1\n*\n", "a second set of coordinates"),
    ],
)
def test_refused(old: str, new: str, reason: str) -> None:
    assert old in TEMPLATE
    with pytest.raises(InputError, match=reason):
        read_input(TEMPLATE.replace(old, new))


def test_what_a_remedy_writes_is_read_over() -> None:
    plain = read_input(TEMPLATE)
    for words in ("SlowConv", "VerySlowConv", "KDIIS", "SOSCF", "TRAH", "MORead"):
        assert read_input(TEMPLATE.replace("NoUseSym", f"NoUseSym {words}")) == plain
    assert read_input(TEMPLATE.replace("%scf", '%moinp "restart.gbw"\n%scf')) == plain
