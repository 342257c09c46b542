"""Small picture of a molecule."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from oact_dagster.orca.covalent_radii import COVALENT_RADII
from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.pictures.bonds import NON_METALS, UNKNOWN_RADIUS, bonds, trails
from oact_dagster.pictures.palette import INK, contrast
from oact_dagster.pictures.svg import element, label, nothing_yet, number, picture

SIZE: Final = 240
"""Width and height in pixels."""

MOST_BYTES: Final = 2900

_MARGIN: Final = 6
_LARGEST_SCALE: Final = 44.0
"""Largest number of pixels per Å, so that a small molecule does not fill the picture."""

_METAL_RADIUS: Final = 0.65
"""Å."""

_MOST_METALS: Final = 50
"""Number of metals kept of a molecule that is too large."""

_LEAST_BYTES: Final = 6
"""Bytes that each point of a path needs at least; shows without drawing that a picture cannot fit."""

_MOST_NAMED: Final = 4

_FARTHEST: Final = 1e6
"""Largest coordinate in Å; the comparison also excludes NaN and infinities."""

_WITH_BONDS: Final = 600
"""Largest number of atoms with bonds; those of a larger molecule would not fit."""

# (hydrogens, bonds, slabs of depth, 0 for exact depth): left out step by step until the picture fits. Exact depth costs
# an SVG element wherever the chemical element changes.
_STEPS: Final = (
    (True, True, 0),
    (True, True, 10),
    (True, True, 5),
    (False, True, 0),
    (False, True, 8),
    (False, True, 3),
    (False, False, 8),
    (False, False, 3),
)

# Jmol's: https://jmol.sourceforge.net/jscolors/, H to Lr.
_JMOL_COLOURS: Final = """
FFFFFF D9FFFF CC80FF C2FF00 FFB5B5 909090 3050F8 FF0D0D 90E050 B3E3F5 AB5CF2 8AFF00 BFA6A6 F0C8A0 FF8000 FFFF30 1FF01F
80D1E3 8F40D4 3DFF00 E6E6E6 BFC2C7 A6A6AB 8A99C7 9C7AC7 E06633 F090A0 50D050 C88033 7D80B0 C28F8F 668F8F BD80E3 FFA100
A62929 5CB8D1 702EB0 00FF00 94FFFF 94E0E0 73C2C9 54B5B5 3B9E9E 248F8F 0A7D8C 006985 C0C0C0 FFD98F A67573 668080 9E63B5
D47A00 940094 429EB0 57178F 00C900 70D4FF FFFFC7 D9FFC7 C7FFC7 A3FFC7 8FFFC7 61FFC7 45FFC7 30FFC7 1FFFC7 00FF9C 00E675
00D452 00BF38 00AB24 4DC2FF 4DA6FF 2194D6 267DAB 266696 175487 D0D0E0 FFD123 B8B8D0 A6544D 575961 9E4FB5 AB5C00 754F45
428296 420066 007D00 70ABFA 00BAFF 00A1FF 008FFF 0080FF 006BFF 545CF2 785CE3 8A4FE3 A136D4 B31FD4 B31FBA B30DA6 BD0D87
C70066
"""

ELEMENT_COLOURS: Final = {
    symbol: f"#{colour.lower()}" for symbol, colour in zip(SYMBOLS, _JMOL_COLOURS.split(), strict=True)
}

_UNKNOWN_COLOUR: Final = "#c45a94"


def geometry_picture(symbols: Sequence[str], coordinates: Sequence[Sequence[float]]) -> str:
    """Draw a molecule (Å) in the plane of its two longest principal axes, with atoms in Jmol's colours.

    A large molecule loses its hydrogens, then its bonds, then more and more atoms other than metals. Atoms with a
    coordinate that is not finite are left out.

    Returns an SVG of 240 x 240 pixels and at most 2,900 bytes. Show it as an image; inline in a page its style and ids
    would clash with those of other pictures.

    Raises:
        ValueError: The numbers of coordinates and symbols differ.
    """
    places = np.array(coordinates, dtype=float).reshape(-1, 3)
    known = (np.abs(places) < _FARTHEST).all(axis=1)
    symbols = [symbol for symbol, keep in zip(symbols, known, strict=True) if keep]
    if not symbols:
        return nothing_yet(SIZE, SIZE)
    flat, scale = _projected(places[known])
    joined = bonds(symbols, places[known]) if len(symbols) <= _WITH_BONDS else []
    heavy = [atom for atom, symbol in enumerate(symbols) if symbol != "H"] or list(range(len(symbols)))
    every = list(range(len(symbols)))
    kept = set(heavy)
    lines = {True: trails(joined), False: trails([bond for bond in joined if kept.issuperset(bond)])}
    spots = [f"{x:.0f} {y:.0f}" for x, y in flat[:, :2].tolist()]
    svg = ""
    for with_hydrogen, with_bonds, slabs in _STEPS:
        atoms = every if with_hydrogen else heavy
        joining = lines[with_hydrogen] if with_bonds else []
        if len(atoms) + sum(map(len, joining)) > MOST_BYTES / _LEAST_BYTES:
            continue
        svg = _drawn(symbols, flat, spots, scale, atoms, joining, slabs)
        if len(svg) <= MOST_BYTES:
            return svg
    metals = [atom for atom in heavy if _is_metal(symbols[atom])][:_MOST_METALS]
    others = sorted(set(heavy) - set(metals))
    step = 1
    while not 0 < len(svg) <= MOST_BYTES:
        svg = _drawn(symbols, flat, spots, scale, metals + others[::step], [], 3)
        if step > len(others):
            # Each element needs a marker; with very many elements not even the metals fit.
            metals = metals[: len(metals) // 2]
        step *= 2
    return svg


def _projected(places: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Rotate atoms, shape (n, 3) in Å, to their principal axes and scale them to the picture.

    Returns x and y in pixels and depth in Å (larger is nearer), shape (n, 3), and the pixels per Å.
    """
    centred = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    if len(axes) < 3:  # fewer than three atoms have fewer axes
        axes = np.vstack([axes, np.zeros((3 - len(axes), 3))])
    # The sign of an axis is arbitrary. Fix it, so that the same molecule gives the same picture.
    largest = axes[np.arange(3), np.abs(axes).argmax(axis=1)]
    turned = centred @ (axes * np.where(largest < 0, -1.0, 1.0)[:, None]).T
    low, high = turned[:, :2].min(axis=0), turned[:, :2].max(axis=0)
    # Each atom is a circle of about 0.6 Å at most.
    scale = min(_LARGEST_SCALE, float((SIZE - 2 * _MARGIN) / ((high - low).max() + 1.2)))
    turned[:, :2] = SIZE / 2 + scale * (turned[:, :2] - (low + high) / 2)
    return turned, scale


def _drawn(
    symbols: Sequence[str],
    flat: npt.NDArray[np.float64],
    spots: Sequence[str],
    scale: float,
    atoms: Sequence[int],
    joining: Sequence[Sequence[int]],
    slabs: int,
) -> str:
    """Draw the given atoms and lines; atoms overlap in order of depth, exact or in that many slabs."""
    depth = flat[:, 2]
    if slabs:
        span = float(depth.max() - depth.min()) or 1.0
        depth = np.minimum(np.floor((depth - depth.min()) / span * slabs), slabs - 1)
    deep = depth.tolist()
    order = sorted(atoms, key=lambda atom: (deep[atom], symbols[atom]))
    body = []
    if joining:
        lines = "".join("M" + " ".join([spots[atom] for atom in line]) for line in joining)
        width = number(max(1.0, 0.09 * scale))
        body.append(
            element("path", d=lines, fill="none", stroke=INK, stroke_width=width, stroke_linejoin="round")
        )
    # Atoms are markers on the points of an invisible line, so an atom costs only its coordinates.
    elements = dict.fromkeys(symbols[atom] for atom in order)
    names = {symbol: chr(97 + place) if place < 26 else f"e{place}" for place, symbol in enumerate(elements)}
    markers = "".join(_marker(name, symbol, scale) for symbol, name in names.items())
    style = "marker{overflow:visible}circle{stroke:#777;stroke-width:.7}" + "".join(
        f".{name}{{marker:url(#{name})}}" for name in names.values()
    )
    named = [atom for atom in order if _is_metal(symbols[atom])][:_MOST_NAMED]
    for symbol, run in groupby(order, key=symbols.__getitem__):
        places = list(run)
        shape = " ".join([spots[atom] for atom in places])
        body.append(f'<path class="{names[symbol]}" d="M{shape}h0" fill="none"/>')
        if _is_metal(symbol) and len(places) <= len(named):
            body += [_name(symbol, float(flat[atom, 0]), float(flat[atom, 1]), scale) for atom in places]
    return picture(SIZE, SIZE, f"<style>{style}</style>{markers}{''.join(body)}")


def _is_metal(symbol: str) -> bool:
    return symbol in COVALENT_RADII and symbol not in NON_METALS


def _radius(symbol: str) -> float:
    """Return the radius of an atom's circle in Å."""
    if symbol == "H":
        return 0.24
    return _METAL_RADIUS if _is_metal(symbol) else 0.28 + 0.15 * COVALENT_RADII.get(symbol, UNKNOWN_RADIUS)


def _marker(name: str, symbol: str, scale: float) -> str:
    colour = ELEMENT_COLOURS.get(symbol, _UNKNOWN_COLOUR)
    return element("marker", element("circle", r=number(scale * _radius(symbol)), fill=colour), id=name)


def _name(symbol: str, x: float, y: float, scale: float) -> str:
    """Return a metal's symbol on its circle, in black or white for the better contrast."""
    size = scale * _METAL_RADIUS
    colours = ("#000000", "#ffffff")
    ink = max(colours, key=lambda colour: contrast(colour, ELEMENT_COLOURS[symbol]))
    return label(
        round(x),
        round(y + 0.36 * size),
        symbol,
        font_size=number(size, 0),
        text_anchor="middle",
        fill=ink[:4],
    )
