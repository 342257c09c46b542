"""Geometries: what is read, what is refused and with which words, and how it is written back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.errors import GeometryError
from oact_dagster.orca.geometry import Geometry, parse_geometry

URANYL = "U 0.0 0.0 0.0\nO 0.0 0.0 1.76\nO 0.0 0.0 -1.76\n"


def test_bare_lines_are_read_in_their_order():
    geometry = parse_geometry(URANYL)
    assert geometry.symbols == ("U", "O", "O")
    assert geometry.coordinates == ((0.0, 0.0, 0.0), (0.0, 0.0, 1.76), (0.0, 0.0, -1.76))
    assert len(geometry) == 3


@pytest.mark.parametrize(
    "text",
    [
        "3\nuranyl\n" + URANYL,
        "3\n\n" + URANYL,
        "\n 3 \nU 0 0 0 is a comment here\n" + URANYL + "\n\n",
        URANYL.replace("\n", "\r\n"),
        "\n\n" + URANYL.rstrip("\n"),
        URANYL.replace("U", "u").replace("O", "o").replace(" ", "\t  "),
        URANYL.replace(" 1.76", " +1.76E+00"),
    ],
)
def test_the_same_atoms_in_other_clothes(text):
    assert parse_geometry(text) == parse_geometry(URANYL)


def test_two_letter_symbols_in_any_case():
    assert parse_geometry("CL 0 0 0\nnP 0 0 3\nLr 0 3 0").symbols == ("Cl", "Np", "Lr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the geometry is empty; expected lines 'El x y z' in Å, such as 'O 0.0 0.0 1.76'"),
        (" \n\t\n", "the geometry is empty; expected lines 'El x y z' in Å, such as 'O 0.0 0.0 1.76'"),
        (
            "U 0 0 0\nXx 0 0 2",
            "line 2 has the unknown element 'Xx'; expected a symbol from H to Lr",
        ),
        ("3\nc\n" + URANYL.replace("O", "92", 1), "line 4 has the unknown element '92'; expected a symbol"),
        ("\nU 0 0 0\nO 0 0\n", "line 3 reads 'O 0 0'; expected 'El x y z'"),
        ("U 0 0 0\nO 0 0 2 1.0", "line 2 reads 'O 0 0 2 1.0'; expected 'El x y z'"),
        ("U 0 0 0\n\nO 0 0 2", "line 2 reads ''; expected 'El x y z'"),
        ("U 0 0 nan", "line 1 has the coordinate 'nan'; expected a finite number in Å"),
        ("U 0 -inf 0", "line 1 has the coordinate '-inf'; expected a finite number in Å"),
        ("U 0 0 1e999", "line 1 has the coordinate '1e999'; expected a finite number in Å"),
        ("U 0 0 1_0", "line 1 has the coordinate '1_0'; expected a finite number in Å"),
        ("U 0 0 1.0D0", "line 1 has the coordinate '1.0D0'; expected a finite number in Å"),
        ("U 0 0 \u0661", "line 1 has the coordinate '\\u0661'; expected a finite number in Å"),
        ("U 0,0 0 0", "line 1 has the coordinate '0,0'; expected a finite number in Å"),
        ("2\nc\n" + URANYL, "line 1 counts 2 atoms, but 3 lines follow the comment line"),
        ("4\nc\n" + URANYL, "line 1 counts 4 atoms, but 3 lines follow the comment line"),
        ("3", "line 1 counts 3 atoms, but 0 lines follow the comment line"),
        ("0\nc\n", "line 1 counts 0 atoms"),
        ("9" * 5000 + "\nc\n", "line 1 reads '9999"),
        ("nothing", "line 1 reads 'nothing'; expected 'El x y z' in Å"),
        (
            URANYL + "O 0.1 0.0 -1.76",
            "atoms 3 (O) and 4 (O) are 0.100 Å apart; expected at least 0.5 Å",
        ),
        ("U 0 0 0\nH 9 9 9\nU 0 0 0", "atoms 1 (U) and 3 (U) are 0.000 Å apart"),
    ],
)
def test_refused_with_one_line_that_says_where(text, message):
    with pytest.raises(GeometryError) as refusal:
        parse_geometry(text)
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_molecule_of_two_xyz_frames_is_refused():
    with pytest.raises(GeometryError, match="line 1 counts 3 atoms, but 8 lines follow"):
        parse_geometry(("3\nc\n" + URANYL) * 2)


def test_half_an_angstrom_is_allowed_and_less_is_not():
    assert len(parse_geometry("H 0 0 0\nH 0 0.5 0")) == 2
    with pytest.raises(GeometryError, match=r"0\.499 Å"):
        parse_geometry("H 0 0 0\nH 0 0.499 0")


@given(
    st.lists(
        st.tuples(*[st.integers(min_value=-15, max_value=15)] * 3),
        min_size=1,
        max_size=12,
    )
)
def test_a_geometry_is_refused_exactly_when_two_atoms_are_too_close(grid):
    atoms = [tuple(0.1 * step for step in point) for point in grid]
    text = "".join(f"H {x} {y} {z}\n" for x, y, z in atoms)
    pairs = [(i, j) for i in range(len(atoms)) for j in range(i + 1, len(atoms))]
    close = [(i, j) for i, j in pairs if math.dist(atoms[i], atoms[j]) < 0.5]
    if close:
        i, j = close[0]
        with pytest.raises(GeometryError, match=rf"atoms {i + 1} \(H\) and {j + 1} \(H\) are"):
            parse_geometry(text)
    else:
        assert parse_geometry(text).coordinates == tuple(atoms)


def test_written_with_six_decimals_and_no_negative_zero():
    geometry = Geometry(("U", "Cl"), ((-0.0, -4e-7, 10.0), (-10.0000004, 2.5e-6, -0.0000006)))
    assert geometry.text() == "U 0.000000 0.000000 10.000000\nCl -10.000000 0.000003 -0.000001\n"


@given(st.lists(st.floats(min_value=-1e4, max_value=1e4), min_size=3, max_size=3))
def test_what_is_written_is_read_back_and_written_the_same(xyz):
    text = Geometry(("U",), (tuple(xyz),)).text()
    assert parse_geometry(text).text() == text
    assert "-0.000000" not in text
