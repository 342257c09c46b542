"""Bonds of metals in two geometries of the same atoms."""

import csv
import math
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.orca.covalent_radii import COVALENT_RADII
from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.orca.geometry import Geometry, parse_geometry
from oact_dagster.orca.metals import METALS
from oact_dagster.quality.bonds import REACH, BondChange, bond_change

URANYL = Geometry(("U", "O", "O"), ((0.0, 0.0, 0.0), (0.0, 0.0, 1.76), (0.0, 0.0, -1.76)))


def complexes() -> list[Geometry]:
    """The 31 metal complexes of the demo."""
    text = (files("oact_dagster") / "demo" / "structures.csv").read_text(encoding="utf-8")
    return [parse_geometry(row["aligned_csd_core"]) for row in csv.DictReader(text.splitlines(keepends=True))]


def moved(geometry: Geometry, atom: int, factor: float) -> Geometry:
    """With an atom so many times as far from the first one."""
    centre = geometry.coordinates[0]
    place = tuple(c + factor * (a - c) for c, a in zip(centre, geometry.coordinates[atom], strict=True))
    rows = list(geometry.coordinates)
    rows[atom] = (place[0], place[1], place[2])
    return Geometry(geometry.symbols, tuple(rows))


def change(former: Geometry, present: Geometry) -> BondChange | None:
    return bond_change(former.symbols, former.coordinates, present.coordinates)


def test_the_same_geometry_has_the_same_bonds() -> None:
    for one in complexes():
        found = change(one, one)
        assert found is not None
        assert (found.stretch, found.alone) == (1.0, 0)
        assert 6 <= found.before <= 20, "the donors, and what of a chelate is as near"


def test_a_ligand_that_leaves_is_named() -> None:
    found = change(URANYL, moved(URANYL, 2, 1.8))
    assert found is not None
    assert (found.before, found.bond, found.alone) == (2, "U1-O3", 0)
    assert found.stretch == pytest.approx(1.8)


def test_a_metal_that_is_left_alone() -> None:
    away = moved(moved(URANYL, 1, 2.2), 2, 2.2)
    found = change(URANYL, away)
    assert found is not None and found.alone == 1
    # Others have come in their place: it is not alone.
    four = Geometry(("U", "O", "O", "O"), (*URANYL.coordinates, (0.0, 9.0, 0.0)))
    swapped = Geometry(four.symbols, (*away.coordinates, (0.0, 2.0, 0.0)))
    found = change(four, swapped)
    assert found is not None and (found.before, found.alone) == (2, 0)


def test_every_metal_is_looked_at() -> None:
    both = Geometry(
        ("Fe", "N", "U", "O"), ((0.0, 0.0, 0.0), (0.0, 0.0, 2.0), (20.0, 0.0, 0.0), (20.0, 0.0, 2.0))
    )
    far = Geometry(both.symbols, (*both.coordinates[:3], (20.0, 0.0, 7.0)))
    found = change(both, far)
    assert found is not None
    assert (found.before, found.bond, found.stretch, found.alone) == (2, "U3-O4", 3.5, 1)


@pytest.mark.parametrize(
    ("former", "present"),
    [
        (Geometry(("O", "H"), ((0, 0, 0), (0, 0, 0.97))), Geometry(("O", "H"), ((0, 0, 0), (0, 0, 5.0)))),
        (Geometry(("U",), ((0, 0, 0),)), Geometry(("U",), ((0, 0, 0),))),
        (Geometry(("U", "O"), ((0, 0, 0), (0, 0, 9.0))), Geometry(("U", "O"), ((0, 0, 0), (0, 0, 2.0)))),
        (URANYL, Geometry(("U", "O"), URANYL.coordinates[:2])),
        (URANYL, Geometry(URANYL.symbols, (*URANYL.coordinates[:2], (0.0, math.nan, 0.0)))),
    ],
    ids=["no metal", "one atom", "no neighbour", "other atoms", "no number"],
)
def test_what_cannot_be_said(former: Geometry, present: Geometry) -> None:
    assert bond_change(former.symbols, former.coordinates, present.coordinates) is None


def test_an_unknown_element_is_no_neighbour() -> None:
    ghost = bond_change(("U", "X", "O"), URANYL.coordinates, URANYL.coordinates)
    assert ghost is not None and ghost.before == 2, "within reach of the metal's own radius"


def test_every_element_has_a_radius_and_the_ligands_are_no_metals() -> None:
    assert COVALENT_RADII.keys() == set(SYMBOLS) >= METALS
    assert METALS.isdisjoint(
        {"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I", "Na", "Ca", "Xe"}
    )
    assert {"U", "Th", "Lr", "La", "Lu", "Fe", "Zn", "Hg", "Bi"} <= METALS
    assert pytest.approx(1.96) == COVALENT_RADII["U"]


@given(
    st.integers(0, 30),
    st.floats(0.2, 3.0),
    st.tuples(*[st.floats(-50, 50)] * 3),
    st.floats(0, 6.3),
)
def test_size_counts_and_place_does_not(
    which: int, factor: float, shift: tuple[float, float, float], angle: float
) -> None:
    one = complexes()[which]
    cosine, sine = math.cos(angle), math.sin(angle)
    placed = tuple(
        (
            factor * (cosine * x - sine * y) + shift[0],
            factor * (sine * x + cosine * y) + shift[1],
            factor * z + shift[2],
        )
        for x, y, z in one.coordinates
    )
    found = bond_change(one.symbols, one.coordinates, placed)
    assert found is not None and found.stretch == pytest.approx(factor, rel=1e-9)
    nearest = min(
        math.dist(one.coordinates[0], atom)
        / (REACH * (COVALENT_RADII[symbol] + COVALENT_RADII[one.symbols[0]]))
        for symbol, atom in zip(one.symbols[1:], one.coordinates[1:], strict=True)
    )
    if abs(factor * nearest - 1) > 1e-6:
        assert found.alone == (factor * nearest > 1)
