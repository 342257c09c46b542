"""Line chart of series over numbers or times."""

from collections.abc import Mapping, Sequence
from typing import Final

from oact_dagster.orca.outputs.convergence import thinned
from oact_dagster.pictures.axes import Scale, linear_ticks, time_ticks, widened
from oact_dagster.pictures.frame import BOTTOM, LEFT, RIGHT, TOP, Axis, chart, legend, shortened
from oact_dagster.pictures.palette import SERIES, STATUS
from oact_dagster.pictures.svg import dots, element, finite, nothing_yet, path

_MOST_POINTS: Final = 500
"""Largest number of points of a series; there are hardly more pixels."""

Points = Sequence[tuple[float, float]]


def lines(
    series: Mapping[str, Points],
    x_label: str,
    y_label: str,
    *,
    title: str = "",
    times: bool = False,
    integer_y: bool = False,
    colours: Mapping[str, str] | None = None,
) -> str:
    """Draw a line for each series: SVG of 640 x 300 pixels.

    Points are in ascending x; those with NaN or infinities are left out. Only as many series are drawn as there are
    colours; one named like a status has the status's colour unless ``colours`` names another. With ``times``, x are
    Unix times in s, shown in UTC, and the label should say so. With ``integer_y``, y are counts, whose axis begins at
    0.
    """
    known = {
        name: thinned([(x, y) for x, y in points if finite(x) and finite(y)], _MOST_POINTS)
        for name, points in series.items()
    }
    known = {name: points for name, points in known.items() if points}
    if not known:
        return nothing_yet(title=title)
    drawn = dict(list(known.items())[: len(SERIES)])
    note = f"{len(drawn)} of {len(known)} series" if len(drawn) < len(known) else ""
    fixed = {**STATUS, **(colours or {})}
    shown = [
        (name, fixed.get(name) or fixed.get(name.replace(" ", "_"), colour))
        for name, colour in zip(drawn, SERIES, strict=False)
    ]
    names, top = "", float(TOP)
    if len(shown) > 1:
        names, baseline = legend([(shortened(name, 30), colour) for name, colour in shown], LEFT, TOP + 8)
        top = baseline + 12
    along = [x for points in drawn.values() for x, _ in points]
    up = [y for points in drawn.values() for _, y in points]
    x = Scale(*widened(min(along), max(along), integer=times), LEFT, RIGHT)
    low, high = widened(min(0.0, *up) if integer_y else min(up), max(up), integer=integer_y)
    room = 0.04 * (high - low)
    y = Scale(low if integer_y else low - room, high + room, BOTTOM, top)
    body = [names]
    for name, colour in shown:
        places = [(x(one), y(other)) for one, other in drawn[name]]
        if len(places) == 1:
            body.append(
                element("path", d=dots(places), stroke=colour, stroke_width=6, stroke_linecap="round")
            )
        else:
            body.append(
                element(
                    "path",
                    d=path(places),
                    fill="none",
                    stroke=colour,
                    stroke_width=2,
                    stroke_linejoin="round",
                )
            )
    x_ticks = time_ticks(x.low, x.high, 6) if times else linear_ticks(x.low, x.high, 8)
    return chart(
        Axis(x, x_ticks, x_label),
        Axis(y, linear_ticks(y.low, y.high, 5, integer=integer_y), y_label),
        "".join(body),
        title=title,
        note=note,
        top=top,
    )
