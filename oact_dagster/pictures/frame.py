"""What the large charts share: their size, the frame with its axes, a title and a legend."""

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
"""User units of the frame's four sides."""

_LETTER: Final = 6.6
"""User units of a letter of 12 pixels, on the wide side: where text is put must not depend on the font."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of the frame.

    Attributes:
        scale: Where values stand.
        ticks: Its marks.
        label: What it shows, with the unit.
    """

    scale: Scale
    ticks: Sequence[Tick]
    label: str


def chart(x: Axis, y: Axis, body: str, *, title: str = "", note: str = "", top: float = TOP) -> str:
    """A chart of 640 x 300 pixels.

    Args:
        x: The axis below.
        y: The axis on the left.
        body: What is drawn inside.
        title: Above; also what a reader aloud says.
        note: Behind the title, for what the chart leaves out.
        top: User units: where the frame begins, below a legend if there is one.
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
    """The title, and a note in smaller letters on the right.

    Args:
        title: Bold.
        note: What the chart leaves out.
    """
    parts = label(8, 18, shortened(title, 70), font_size=14, font_weight="bold") if title else ""
    return parts + (label(RIGHT, 18, note, font_size=11, text_anchor="end") if note else "")


def legend(entries: Sequence[tuple[str, str]], x: float, y: float) -> tuple[str, float]:
    """Coloured squares with names, in as many lines as they need.

    Args:
        entries: (name, colour).
        x: User units: where the lines begin.
        y: User units: the baseline of the first.

    Returns:
        The elements, and the baseline of the last line.
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
    """A number with its noun.

    Args:
        number_of: 0 or more.
        what: The noun for one.
    """
    return f"{number_of:,} {what}" + ("" if number_of == 1 else "s")


def shortened(text: str, most: int) -> str:
    """Text with no more than so many letters, cut with an ellipsis.

    Args:
        text: Any text; line breaks become blanks.
        most: Letters.
    """
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _anchor(axis: Axis, tick: Tick) -> str:
    """Long texts at the right end of an axis grow to the left, so that they are not cut."""
    return "end" if axis.scale(tick.value) + _LETTER * len(tick.text) / 2 > WIDTH else "middle"
