"""Small picture of the convergence of an SCF or an optimisation."""

import math
from collections.abc import Sequence
from typing import Final

from oact_dagster.orca.outputs.convergence import Convergence
from oact_dagster.pictures.axes import MINUS, Scale, Tick, linear_ticks, log_ticks, widened
from oact_dagster.pictures.palette import INK, SERIES
from oact_dagster.pictures.svg import dots, element, finite, label, nothing_yet, path, picture, positive

_WIDTH: Final = 320
_HEIGHT: Final = 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 276, 20, 92
_WIDE_RIGHT: Final = 312

Point = tuple[float, float]


def convergence_picture(convergence: Convergence) -> str:
    """Draw the optimisation if it has two cycles or more, else the last SCF.

    Returns an SVG of 320 x 120 pixels and at most 2,900 bytes.
    """
    energies = [energy for energy in convergence.energies if finite(energy)]
    if len(energies) >= 2:
        gradients = [gradient for gradient in convergence.gradients if positive(gradient)]
        return _optimisation(energies, gradients, max(convergence.n_cycles, len(energies)))
    changes = [change for change in convergence.scf if positive(change)]
    if not changes:
        return nothing_yet(_WIDTH, _HEIGHT)
    return _scf(changes, max(convergence.n_iterations, len(changes) + 1))


def _scf(changes: Sequence[float], n_iterations: int) -> str:
    points = _spread(changes, 2, n_iterations)
    x = Scale(*widened(min(2, points[0][0]), points[-1][0], integer=True), _LEFT, _WIDE_RIGHT)
    low, high = _decades(changes)
    y = Scale(low, high, _BOTTOM, _TOP, log=True)
    body = [
        _axes(x, y, log_ticks(low, high, 4), _WIDE_RIGHT),
        _line(points, x, y, SERIES[0]),
        label(_LEFT, 10, "|ΔE| per iteration, Eh", fill=SERIES[0]),
        label((_LEFT + _WIDE_RIGHT) / 2, 118, "SCF iteration", text_anchor="middle"),
    ]
    return picture(_WIDTH, _HEIGHT, "".join(body), font_size=10)


def _optimisation(energies: Sequence[float], gradients: Sequence[float], n_cycles: int) -> str:
    relative = [1000 * (energy - energies[-1]) for energy in energies]
    points = _spread(relative, 1, n_cycles)
    x = Scale(*widened(1, n_cycles, integer=True), _LEFT, _RIGHT)
    low, high = widened(min(relative), max(relative))
    room = 0.06 * (high - low)
    y = Scale(low - room, high + room, _BOTTOM, _TOP)
    body = [_axes(x, y, linear_ticks(y.low, y.high, 4), _RIGHT)]
    if gradients:
        low, high = _decades(gradients)
        right = Scale(low, high, _BOTTOM, _TOP, log=True)
        for tick in log_ticks(low, high, 4):
            body.append(label(_RIGHT + 5, right(tick.value) + 3, tick.text, fill=SERIES[1]))
        body.append(_line(_spread(gradients, 1, n_cycles), x, right, SERIES[1]))
        body.append(label(_WIDTH - 4, 10, "largest gradient, Eh/bohr", text_anchor="end", fill=SERIES[1]))
    body += [
        _line(points, x, y, SERIES[0]),
        label(4, 10, f"E {MINUS} E(last), mEh", fill=SERIES[0]),
        label((_LEFT + _RIGHT) / 2, 118, "optimisation cycle", text_anchor="middle"),
    ]
    return picture(_WIDTH, _HEIGHT, "".join(body), font_size=10)


def _spread(values: Sequence[float], first: int, last: int) -> list[Point]:
    """Place values, thinned out or not, at the steps from ``first`` to ``last``."""
    if len(values) < 2:
        return [(float(first), value) for value in values]
    # Fewer than 60 values are not thinned out. A truncated calculation lacks only the last ones.
    step = max(1.0, (last - first) / (len(values) - 1)) if len(values) >= 60 else 1.0
    return [(min(first + place * step, last), value) for place, value in enumerate(values)]


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of a logarithmic axis: powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _line(points: Sequence[Point], x: Scale, y: Scale, colour: str) -> str:
    drawn = [(x(along), y(value)) for along, value in points]
    line = element(
        "path", d=path(drawn), fill="none", stroke=colour, stroke_width=1.5, stroke_linejoin="round"
    )
    if len(points) > 25:
        return line
    return line + element("path", d=dots(drawn), stroke=colour, stroke_width=4, stroke_linecap="round")


def _axes(x: Scale, y: Scale, ticks: Sequence[Tick], right: int) -> str:
    grid = "".join(f"M{_LEFT} {y(tick.value):.0f}H{right}" for tick in ticks)
    steps = linear_ticks(x.low, x.high, 6, integer=True)
    marks = "".join(f"M{x(tick.value):.1f} {_BOTTOM}v3" for tick in steps)
    texts = [label(_LEFT - 4, y(tick.value) + 3, tick.text, text_anchor="end") for tick in ticks]
    texts += [label(x(tick.value), _BOTTOM + 13, tick.text, text_anchor="middle") for tick in steps]
    return (
        element("path", d=grid, stroke=INK, stroke_opacity=".25")
        + element("path", d=f"M{_LEFT} {_BOTTOM}H{right}{marks}", stroke=INK, fill="none")
        + "".join(texts)
    )
