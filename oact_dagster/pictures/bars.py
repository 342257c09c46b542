"""Bar chart of amounts by name."""

from collections.abc import Sequence
from typing import Final

from oact_dagster.pictures.axes import Scale, linear_ticks
from oact_dagster.pictures.frame import WIDTH, heading, shortened
from oact_dagster.pictures.palette import INK, SERIES
from oact_dagster.pictures.svg import element, escape, finite, nothing_yet, number, picture
from oact_dagster.pictures.svg import label as text_at

MOST_ROWS: Final = 15

_LEFT: Final = 200
_RIGHT: Final = 570
_ROW: Final = 20


def bars(items: Sequence[tuple[str, float]], label: str, *, title: str = "", colour: str = SERIES[0]) -> str:
    """Draw a horizontal bar for each amount, largest first: SVG 640 pixels wide and as high as its rows need.

    Negative amounts are left out. Amounts beyond the 15 largest are summed up in a row "others", which has no bar
    because it might be longer than all the rest. The label says what the amounts are, with the unit.
    """
    known = sorted(
        ((name, amount) for name, amount in items if finite(amount) and amount >= 0),
        key=lambda item: -item[1],
    )
    if not known:
        return nothing_yet(title=title)
    rest = known[MOST_ROWS:]
    rows = known[:MOST_ROWS]
    if rest:
        rows.append((f"others ({len(rest):,})", sum(amount for _, amount in rest)))
    top = 30 if title else 8
    bottom = top + _ROW * len(rows)
    integer = all(amount == round(amount) for _, amount in rows)
    x = Scale(0, rows[0][1] or 1, _LEFT, _RIGHT)
    ticks = linear_ticks(0, x.high, 5, integer=integer)
    parts = [heading(title)]
    grid = "".join(f"M{number(x(tick.value))} {top}V{bottom}" for tick in ticks)
    parts.append(element("path", d=grid, stroke=INK, stroke_opacity=".22"))
    for place, (name, amount) in enumerate(rows):
        y = top + _ROW * place
        told = f"{amount:,.0f}" if integer else f"{amount:,.4g}" if amount < 1e4 else f"{amount:,.0f}"
        parts.append(text_at(_LEFT - 8, y + 14, shortened(name, 28), text_anchor="end"))
        if place == MOST_ROWS:
            parts.append(text_at(_LEFT + 6, y + 14, told))
            continue
        bar = element(
            "rect",
            element("title", escape(f"{name}: {told}")),
            x=_LEFT,
            y=y + 3,
            width=max(x(amount) - _LEFT, 1 if amount else 0),
            height=_ROW - 6,
            fill=colour,
        )
        parts += [bar, text_at(x(amount) + 6, y + 14, told)]
    parts.append(element("path", d=f"M{_LEFT} {top}V{bottom}", stroke=INK))
    parts += [text_at(x(tick.value), bottom + 15, tick.text, text_anchor="middle") for tick in ticks]
    parts.append(text_at((_LEFT + _RIGHT) / 2, bottom + 34, label, text_anchor="middle"))
    return picture(WIDTH, bottom + 42, "".join(parts), title=title)
