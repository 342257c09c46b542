"""Minimal SVG writer: numbers, escaped text, elements and the picture around them."""

from collections.abc import Iterable
from numbers import Real
from typing import Final
from xml.sax.saxutils import escape as _escape

from oact_dagster.pictures.palette import INK

NOTHING: Final = "nothing yet"

_LARGEST: Final = 1e100
_SMALLEST: Final = 1e-100

# Characters that XML 1.0 does not allow at all, escaped or not.
_FORBIDDEN: Final = dict.fromkeys(
    [*(code for code in range(32) if code not in (9, 10, 13)), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF],
    "\ufffd",
)


def escape(text: str) -> str:
    """Escape text for an element or a double-quoted attribute; a character that XML forbids becomes U+FFFD."""
    return _escape(text.translate(_FORBIDDEN), {'"': "&quot;"})


def number(value: float, digits: int = 1) -> str:
    """Return a finite coordinate in as few characters as possible, such as ``12`` or ``-.5``."""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text in ("-0", ""):
        return "0"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def element(name: str, content: str | None = None, **attributes: str | float) -> str:
    """Return an element; ``content`` is already escaped, and None makes a self-closing element.

    Attributes have ``_`` for ``-``; a trailing ``_`` is dropped (``class_``). Numbers are shortened, text is escaped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}/>" if content is None else f"<{name}{written}>{content}</{name}>"


def label(x: float, y: float, text: str, **attributes: str | float) -> str:
    """Return a line of text whose baseline begins at (x, y); ``text`` gets escaped."""
    return element("text", escape(text), x=x, y=y, **attributes)


def path(points: Iterable[tuple[float, float]], digits: int = 1) -> str:
    """Return the ``d`` of a line through points (x, y) in user units, with at most ``digits`` decimals."""
    pairs = [f"{number(x, digits)} {number(y, digits)}" for x, y in points]
    return "M" + " ".join(pairs).replace(" -", "-") if pairs else ""


def dots(points: Iterable[tuple[float, float]], digits: int = 1) -> str:
    """Return the ``d`` of a path with a dot at each point (x, y), for a stroke with round ends."""
    return "".join(f"M{number(x, digits)} {number(y, digits)}h0" for x, y in points)


def picture(width: int, height: int, body: str, *, title: str = "", font_size: int = 12) -> str:
    """Return a complete picture with a transparent background; sizes are in pixels.

    The title is for screen readers and a browser's tooltip.
    """
    told = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="{font_size}" fill="{INK}">'
        f"{told}{body}</svg>"
    )


def nothing_yet(width: int = 200, height: int = 60, *, title: str = "") -> str:
    """Return the picture for no data on ``title``; it is wider than ``width`` if the text needs it."""
    text = f"{title}: {NOTHING}" if title else NOTHING
    width = max(width, 8 * len(text))
    return picture(width, height, label(width / 2, height / 2 + 4, text, text_anchor="middle"), title=title)


def finite(value: object) -> bool:
    """Return whether a value can be drawn: a number within ±1e100, not NaN."""
    # Real includes numpy's numbers, which are not int or float.
    return isinstance(value, Real) and abs(float(value)) <= _LARGEST


def positive(value: object) -> bool:
    """Return whether a value can be shown on a logarithmic axis: a number from 1e-100 to 1e100."""
    return isinstance(value, Real) and _SMALLEST <= float(value) <= _LARGEST
