"""Scatter plot of one value against another."""

from collections.abc import Iterable
from typing import Final

from oact_dagster.orca.outputs.convergence import thinned
from oact_dagster.pictures.axes import Scale, linear_ticks, log_ticks, widened
from oact_dagster.pictures.frame import BOTTOM, LEFT, RIGHT, TOP, Axis, chart, counted_as
from oact_dagster.pictures.palette import SERIES
from oact_dagster.pictures.svg import dots, element, finite, nothing_yet, positive

MOST_DOTS: Final = 2000


def scatter(
    x: Iterable[float | None],
    y: Iterable[float | None],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    title: str = "",
) -> str:
    """Draw a point for each pair of values: SVG of 640 x 300 pixels. Labels include the unit.

    Pairs with None, NaN or an infinity are left out, and so are pairs without a logarithm on a logarithmic axis. Points
    on the same pixel are drawn once. If more than 2,000 remain, they are thinned out evenly along x, and the chart says
    so.

    Raises:
        ValueError: The numbers of x and y differ.
    """
    pairs = [(one, other) for one, other in zip(x, y, strict=True) if finite(one) and finite(other)]
    known = [
        (one, other)
        for one, other in pairs
        if one is not None
        and other is not None
        and (positive(one) or not log_x)
        and (positive(other) or not log_y)
    ]
    if not known:
        return nothing_yet(title=title)
    x_axis = _axis([one for one, _ in known], x_label, LEFT, RIGHT, log=log_x)
    y_axis = _axis([other for _, other in known], y_label, BOTTOM, TOP, log=log_y)
    places = sorted({(round(x_axis.scale(one)), round(y_axis.scale(other))) for one, other in known})
    drawn = thinned(places, MOST_DOTS)
    notes = [counted_as(len(known), "point")]
    if len(drawn) < len(places):
        notes.append(f"{len(drawn):,} drawn")
    if len(known) < len(pairs):
        notes.append(f"{len(pairs) - len(known):,} without a logarithm")
    body = element(
        "path",
        d=dots(drawn, 0),
        fill="none",
        stroke=SERIES[0],
        stroke_width=5 if len(drawn) < 500 else 3.5,
        stroke_linecap="round",
    )
    return chart(x_axis, y_axis, body, title=title, note=", ".join(notes))


def _axis(values: list[float], label: str, start: float, end: float, *, log: bool) -> Axis:
    low, high = min(values), max(values)
    if log:
        if high / low < 1.2:
            low, high = low / 2, high * 2
        room = (high / low) ** 0.03
        scale = Scale(low / room, high * room, start, end, log=True)
        return Axis(scale, log_ticks(scale.low, scale.high, 6), label)
    low, high = widened(low, high)
    room = 0.03 * (high - low)
    scale = Scale(low - room if low < 0 or low - room >= 0 else 0.0, high + room, start, end)
    integer = all(value == round(value) for value in values)
    return Axis(scale, linear_ticks(scale.low, scale.high, 6, integer=integer), label)
