"""The small picture of a molecule."""

import csv
import io
import math
import re
from importlib.resources import files
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.orca.covalent_radii import COVALENT_RADII
from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.pictures.bonds import bonds, trails
from oact_dagster.pictures.geometry import ELEMENT_COLOURS, SIZE, geometry_picture
from oact_dagster.pictures.markdown import as_markdown
from oact_dagster_tests.pictures.checked import NAMESPACE, parsed, says_nothing, texts

SMALL = 2900


@pytest.fixture(scope="module")
def complexes():
    text = (files("oact_dagster.demo") / "structures.csv").read_text()
    # Not its lines: cells of the CSV have lines of their own.
    rows = csv.DictReader(io.StringIO(text, newline=""))
    found = {row["name"]: parse_geometry(row["aligned_csd_core"]) for row in rows}
    assert len(found) == 31
    return found


def atoms_of(root):
    """(x, y) of each atom, by its colour."""
    colours = {
        marker.get("id"): marker.find(f"{NAMESPACE}circle").get("fill")
        for marker in root.iter(f"{NAMESPACE}marker")
    }
    found = {}
    for node in root.iter(f"{NAMESPACE}path"):
        if node.get("class"):
            numbers = [float(text) for text in re.findall(r"-?\d+", node.get("d").removesuffix("h0"))]
            found.setdefault(colours[node.get("class")], []).extend(
                zip(numbers[::2], numbers[1::2], strict=True)
            )
    return found


def bond_lines(root):
    return [node.get("d") for node in root.iter(f"{NAMESPACE}path") if node.get("stroke")]


def test_every_real_complex_is_drawn_whole(complexes):
    for name, geometry in complexes.items():
        svg = geometry_picture(geometry.symbols, geometry.coordinates)
        root = parsed(svg, SMALL)
        assert len(as_markdown(svg, "")) - len("![]()") <= 4096
        atoms = atoms_of(root)
        assert sum(map(len, atoms.values())) == len(geometry), name
        assert {ELEMENT_COLOURS[symbol] for symbol in geometry.symbols} == set(atoms)
        assert all(0 <= x <= SIZE and 0 <= y <= SIZE for places in atoms.values() for x, y in places)
        assert bond_lines(root), name
        (metal,) = {symbol for symbol in geometry.symbols if symbol not in ("H", "C", "N", "O", "F", "Cl")}
        assert texts(root) == [metal]


def made(n_atoms, complexes):
    """Complexes beside each other, until there are enough atoms."""
    tiles = [complexes["Tb3_phen2"], complexes["U4_acac4"], complexes["Am3_terpy"]]
    symbols, coordinates = [], []
    for place, (x, y, z) in enumerate(product(range(20), range(2), range(2))):
        tile = tiles[place % 3]
        symbols += tile.symbols
        coordinates += [(a + 14 * x, b + 14 * y, c + 14 * z) for a, b, c in tile.coordinates]
        if len(symbols) >= n_atoms:
            return symbols[:n_atoms], coordinates[:n_atoms]
    raise AssertionError("too many atoms")


@pytest.mark.parametrize("n_atoms", [100, 120, 200, 300, 601, 3000])
def test_large_molecules_fit(complexes, n_atoms):
    symbols, coordinates = made(n_atoms, complexes)
    svg = geometry_picture(symbols, coordinates)
    atoms = atoms_of(parsed(svg, SMALL))
    # Whatever is left out, the metals are not.
    for metal in ("Tb", "U", "Am"):
        wanted = min(symbols.count(metal), 15)
        assert len(atoms.get(ELEMENT_COLOURS[metal], [])) >= wanted, metal
    heavy = sum(symbol != "H" for symbol in symbols)
    if n_atoms <= 300:
        assert sum(map(len, atoms.values())) >= heavy


def test_a_line_of_one_element_that_is_too_long():
    root = parsed(geometry_picture(["C"] * 5000, [(1.5 * place, 0, 0) for place in range(5000)]), SMALL)
    assert 100 < sum(map(len, atoms_of(root).values())) < 600
    assert (
        parsed(geometry_picture(["U"] * 5000, [(3.0 * place, 0, 0) for place in range(5000)]), SMALL)
        is not None
    )


def test_it_is_drawn_on_its_longest_axes():
    # A flat cross in y and z, 8 and 4 Å long: x is the axis that is looked along.
    coordinates = [(0, -4, 0), (0, 4, 0), (0, 0, -2), (0, 0, 2)]
    atoms = atoms_of(parsed(geometry_picture(["N", "O", "F", "Cl"], coordinates)))
    (one,), (other,) = atoms[ELEMENT_COLOURS["N"]], atoms[ELEMENT_COLOURS["O"]]
    (third,), (fourth,) = atoms[ELEMENT_COLOURS["F"]], atoms[ELEMENT_COLOURS["Cl"]]
    assert other[0] - one[0] == pytest.approx(2 * abs(fourth[1] - third[1]), abs=2)
    assert one[1] == other[1] == 120
    assert third[0] == fourth[0] == 120


def test_a_moved_and_turned_molecule_is_the_same_picture(complexes):
    geometry = complexes["U4_acac4"]
    before = geometry_picture(geometry.symbols, geometry.coordinates)
    moved = [(x + 3.0, y - 1.0, z + 0.5) for x, y, z in geometry.coordinates]
    assert geometry_picture(geometry.symbols, moved) == before
    assert geometry_picture(geometry.symbols, geometry.coordinates) == before


def test_near_atoms_cover_far_ones():
    # Both stand on one spot of the picture; the far one must come first.
    symbols = ["C", "C", "C", "C", "N", "O"]
    plane = [(-3, -2, 0), (3, -2, 0), (-3, 2, 0), (3, 2, 0)]
    for depth in (-0.5, 0.5):
        svg = geometry_picture(symbols, [*plane, (0, 0, depth), (0, 0, -depth)])
        classes = [node.get("class") for node in parsed(svg).iter(f"{NAMESPACE}path") if node.get("class")]
        colours = {
            marker.get("id"): marker.find(f"{NAMESPACE}circle").get("fill")
            for marker in parsed(svg).iter(f"{NAMESPACE}marker")
        }
        order = [colours[name] for name in classes]
        nitrogen, oxygen = order.index(ELEMENT_COLOURS["N"]), order.index(ELEMENT_COLOURS["O"])
        assert (nitrogen > oxygen) == (depth > 0)


def test_metals_are_larger():
    svg = parsed(geometry_picture(["U", "O", "H"], [(0, 0, 0), (1.8, 0, 0), (2.6, 0.5, 0)]))
    radii = {
        circle.get("fill"): float(circle.get("r"))
        for marker in svg.iter(f"{NAMESPACE}marker")
        for circle in marker.iter(f"{NAMESPACE}circle")
    }
    uranium, oxygen, hydrogen = (radii[ELEMENT_COLOURS[symbol]] for symbol in ("U", "O", "H"))
    assert uranium > oxygen > hydrogen


@pytest.mark.parametrize(
    ("symbols", "coordinates", "n_atoms"),
    [
        (["U"], [(0, 0, 0)], 1),
        (["H", "H"], [(0, 0, 0), (0, 0, 0.74)], 2),
        (["O", "O"], [(0, 0, 0), (0, 0, 0)], 2),
        (["X", "-", "DA", "O"], [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)], 4),
        (["U", "O", "O"], [(0, 0, 0), (math.nan, 0, 0), (0, math.inf, 0)], 1),
    ],
)
def test_odd_molecules(symbols, coordinates, n_atoms):
    assert sum(map(len, atoms_of(parsed(geometry_picture(symbols, coordinates), SMALL)).values())) == n_atoms


def test_a_molecule_of_very_many_elements_fits():
    root = parsed(
        geometry_picture(SYMBOLS[:40], [(3.0 * (place % 7), 3.0 * (place // 7), 0) for place in range(40)])
    )
    names = [marker.get("id") for marker in root.iter(f"{NAMESPACE}marker")]
    assert len(set(names)) == len(names) >= 10
    assert all(name.isidentifier() for name in names)


def test_nothing():
    assert says_nothing(geometry_picture([], []))
    assert says_nothing(geometry_picture(["U"], [(math.nan, 0, 0)]))


def test_not_as_many_coordinates():
    with pytest.raises(ValueError, match="zip"):
        geometry_picture(["U", "O"], [(0, 0, 0)])


@given(
    st.lists(
        st.tuples(st.sampled_from([*SYMBOLS, "X<&"]), st.tuples(*[st.floats(width=32)] * 3)), max_size=150
    )
)
def test_any_atoms_give_a_picture(atoms):
    parsed(geometry_picture([symbol for symbol, _ in atoms], [place for _, place in atoms]), SMALL)


# Bonds.


def bonded(geometry):
    symbols = geometry.symbols
    return [
        tuple(sorted((symbols[a], symbols[b]))) for a, b in bonds(symbols, np.array(geometry.coordinates))
    ]


@pytest.mark.parametrize(
    ("name", "metal", "expected"),
    [
        ("uranyl_penta_aqua", "U", {"O": 7}),
        ("U4_Cl6", "U", {"Cl": 6}),
        ("Pa5_F7", "Pa", {"F": 7}),
        ("Am3_aqua9", "Am", {"O": 9}),
        ("Np4_Cl4", "Np", {"Cl": 4, "O": 4}),
        # Through the oxygens of acac and nitrate, not to the carbon and nitrogen behind them.
        ("U4_acac4", "U", {"O": 8}),
        ("Th4_nitrate4", "Th", None),
        ("Tb3_phen2", "Tb", None),
    ],
)
def test_what_the_metals_are_bonded_to(complexes, name, metal, expected):
    found = bonded(complexes[name])
    around = [next(other for other in pair if other != metal) for pair in found if metal in pair]
    counts = {symbol: around.count(symbol) for symbol in set(around)}
    if expected is None:
        assert "H" not in counts
        assert "C" not in counts
        if "nitrate" in name:
            assert set(counts) == {"O"}
    else:
        assert counts == expected


def test_every_hydrogen_has_one_bond(complexes):
    for name, geometry in complexes.items():
        pairs = bonds(geometry.symbols, np.array(geometry.coordinates))
        for atom, symbol in enumerate(geometry.symbols):
            if symbol == "H":
                assert sum(atom in pair for pair in pairs) == 1, (name, atom)


@given(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] < pair[1])))
def test_trails_hold_each_bond_once(pairs):
    lines = trails(pairs)
    found = [tuple(sorted(pair)) for line in lines for pair in pairwise(line)]
    assert sorted(found) == sorted(pairs)


def test_a_ring_is_one_trail():
    assert len(trails([(0, 1), (1, 2), (2, 3), (0, 3)])) == 1


# Tables.


def test_radii():
    # Cordero et al. 2008, table 2.
    for symbol, radius in {
        "H": 0.31,
        "C": 0.76,
        "O": 0.66,
        "Cl": 1.02,
        "La": 2.07,
        "Lu": 1.87,
        "U": 1.96,
        "Cm": 1.69,
    }.items():
        assert COVALENT_RADII[symbol] == radius
    assert COVALENT_RADII["Lr"] == COVALENT_RADII["Cm"]
    assert tuple(COVALENT_RADII) == SYMBOLS


def test_colours():
    # Jmol's page of colours.
    for symbol, colour in {
        "H": "#ffffff",
        "C": "#909090",
        "O": "#ff0d0d",
        "Cl": "#1ff01f",
        "U": "#008fff",
        "Lr": "#c70066",
    }.items():
        assert ELEMENT_COLOURS[symbol] == colour
    assert tuple(ELEMENT_COLOURS) == SYMBOLS
