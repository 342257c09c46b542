"""SVG by a few lines: numbers, escaped text, elements, and the picture around them."""

from collections.abc import Iterable
from numbers import Real
from typing import Final
from xml.sax.saxutils import escape as _escape

from oact_dagster.pictures.palette import INK

NOTHING: Final = "nothing yet"
"""What a picture without data says."""

_LARGEST: Final = 1e100
_SMALLEST: Final = 1e-100

# Characters that XML 1.0 does not allow at all, escaped or not.
_FORBIDDEN: Final = dict.fromkeys(
    [*(code for code in range(32) if code not in (9, 10, 13)), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF],
    "\ufffd",
)


def escape(text: str) -> str:
    """Make text safe inside an element and inside an attribute with double quotes.

    Args:
        text: Any text; a character that XML forbids becomes U+FFFD.
    """
    return _escape(text.translate(_FORBIDDEN), {'"': "&quot;"})


def number(value: float, digits: int = 1) -> str:
    """A coordinate in as few characters as it takes.

    Args:
        value: Finite, in user units.
        digits: Decimals that are kept at most.

    Returns:
        The number without trailing zeros, such as ``12``, ``-.5``.
    """
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text in ("-0", ""):
        return "0"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def element(name: str, content: str | None = None, **attributes: str | float) -> str:
    """An element.

    Args:
        name: Its tag.
        content: What is inside, already escaped; None for an element that closes itself.
        **attributes: By name, with ``_`` for ``-`` (and at the end where Python has the word, as in ``class_``). A
            number is written short, text escaped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}/>" if content is None else f"<{name}{written}>{content}</{name}>"


def label(x: float, y: float, text: str, **attributes: str | float) -> str:
    """A line of text whose baseline begins at a point; ``text`` is escaped here."""
    return element("text", escape(text), x=x, y=y, **attributes)


def path(points: Iterable[tuple[float, float]], digits: int = 1) -> str:
    """The ``d`` of a line through points.

    Args:
        points: (x, y) in user units.
        digits: Decimals.
    """
    pairs = [f"{number(x, digits)} {number(y, digits)}" for x, y in points]
    return "M" + " ".join(pairs).replace(" -", "-") if pairs else ""


def dots(points: Iterable[tuple[float, float]], digits: int = 1) -> str:
    """The ``d`` of a path with a dot at each point, for a stroke with round ends.

    Args:
        points: (x, y) in user units.
        digits: Decimals.
    """
    return "".join(f"M{number(x, digits)} {number(y, digits)}h0" for x, y in points)


def picture(width: int, height: int, body: str, *, title: str = "", font_size: int = 12) -> str:
    """A whole picture on a transparent background.

    Args:
        width: Pixels.
        height: Pixels.
        body: Its elements.
        title: What a reader aloud says, and a browser shows under the pointer.
        font_size: Pixels.
    """
    told = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="{font_size}" fill="{INK}">'
        f"{told}{body}</svg>"
    )


def nothing_yet(width: int = 200, height: int = 60, *, title: str = "") -> str:
    """The picture of no data.

    Args:
        width: Pixels, if the text needs no more.
        height: Pixels.
        title: What there is nothing of yet.
    """
    text = f"{title}: {NOTHING}" if title else NOTHING
    width = max(width, 8 * len(text))
    return picture(width, height, label(width / 2, height / 2 + 4, text, text_anchor="middle"), title=title)


def finite(value: object) -> bool:
    """Whether a value is a number that can be drawn: no NaN, no infinity, and within ±1e100."""
    # The numbers of numpy count too, which are no int.
    return isinstance(value, Real) and abs(float(value)) <= _LARGEST


def positive(value: object) -> bool:
    """Whether a value is a number that a logarithmic axis can show: from 1e-100 to 1e100."""
    return isinstance(value, Real) and _SMALLEST <= float(value) <= _LARGEST
