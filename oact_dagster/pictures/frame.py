"""Common parts of the large charts: size, frame with axes, title and legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.pictures.axes import Scale, Tick
from oact_dagster.pictures.palette import INK
from oact_dagster.pictures.svg import element, label, number, picture

WIDTH: Final = 640
_HEIGHT: Final = 300

LEFT: Final = 66
RIGHT: Final = 624
TOP: Final = 34
BOTTOM: Final = 252
"""Positions of the frame's four sides, in user units."""

_LETTER: Final = 6.6
"""Generous width of a 12-pixel letter in user units, so that the layout does not depend on the font."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of the frame; the label says what it shows, with the unit."""

    scale: Scale
    ticks: Sequence[Tick]
    label: str


def chart(x: Axis, y: Axis, body: str, *, title: str = "", note: str = "", top: float = TOP) -> str:
    """Return a chart of 640 x 300 pixels with ``body`` drawn inside the frame.

    Screen readers read the title; the note beside it says what the chart leaves out. ``top`` is the upper side of the
    frame in user units, below a legend if there is one.
    """
    grid = "".join(f"M{LEFT} {number(y.scale(tick.value))}H{RIGHT}" for tick in y.ticks)
    marks = "".join(f"M{number(x.scale(tick.value))} {BOTTOM}v4" for tick in x.ticks)
    texts = [label(LEFT - 6, y.scale(tick.value) + 4, tick.text, text_anchor="end") for tick in y.ticks]
    texts += [
        label(x.scale(tick.value), BOTTOM + 18, tick.text, text_anchor=_anchor(x, tick)) for tick in x.ticks
    ]
    middle = (top + BOTTOM) / 2
    parts = [
        heading(title, note),
        element("path", d=grid, stroke=INK, stroke_opacity=".22"),
        body,
        element("path", d=f"M{LEFT} {number(top)}V{BOTTOM}H{RIGHT}{marks}", stroke=INK, fill="none"),
        *texts,
        label((LEFT + RIGHT) / 2, BOTTOM + 38, x.label, text_anchor="middle"),
        label(0, 0, y.label, text_anchor="middle", transform=f"translate(14 {number(middle)})rotate(-90)"),
    ]
    return picture(WIDTH, _HEIGHT, "".join(parts), title=title)


def heading(title: str, note: str = "") -> str:
    """Return the title in bold, and a note in smaller letters on the right."""
    parts = label(8, 18, shortened(title, 70), font_size=14, font_weight="bold") if title else ""
    return parts + (label(RIGHT, 18, note, font_size=11, text_anchor="end") if note else "")


def legend(entries: Sequence[tuple[str, str]], x: float, y: float) -> tuple[str, float]:
    """Return coloured squares with names in as many lines as they need, and the baseline of the last line.

    ``entries`` are (name, colour); the first line's baseline begins at (x, y), in user units.
    """
    parts: list[str] = []
    along = x
    for name, colour in entries:
        wide = 16 + _LETTER * len(name) + 14
        if along > x and along + wide > RIGHT:
            along, y = x, y + 18
        parts.append(element("rect", x=along, y=y - 9, width=10, height=10, fill=colour, rx=2))
        parts.append(label(along + 15, y, name))
        along += wide
    return "".join(parts), y


def counted_as(number_of: int, what: str) -> str:
    """Return a number (0 or more) with its noun, which is given in the singular."""
    return f"{number_of:,} {what}" + ("" if number_of == 1 else "s")


def shortened(text: str, most: int) -> str:
    """Return text cut to ``most`` letters with an ellipsis; line breaks become blanks."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _anchor(axis: Axis, tick: Tick) -> str:
    """Return the anchor of a tick's text, which must not run out of the picture on the right."""
    return "end" if axis.scale(tick.value) + _LETTER * len(tick.text) / 2 > WIDTH else "middle"
