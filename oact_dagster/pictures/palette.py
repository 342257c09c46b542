"""The colours of the pictures: each has a contrast of 3:1 or more with a white and with a dark page alike.

The backgrounds are transparent, so one picture must do for both. A colour's luminance lies between 0.12 and 0.30 then
(WCAG 2.1, success criterion 1.4.11: 3:1 for graphics).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

INK: Final = "#777b82"
"""Text, axes and ticks."""

SERIES: Final = ("#3b82d6", "#d5701e", "#2b9a5c", "#cc4a4a", "#9466c9", "#17909e", "#a3783a", "#c45a94")
"""Series in their order."""

STATUS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "completed": "#2b9a5c",
        "running": "#3b82d6",
        "to_run": "#878b92",
        "failed": "#cc4a4a",
        "timeout": "#d5701e",
    }
)
"""The colours of a structure's statuses, in the order in which they are drawn."""


def luminance(colour: str) -> float:
    """The relative luminance of a colour.

    Args:
        colour: ``#rrggbb``.

    Returns:
        0 for black to 1 for white, as in WCAG 2.1, "relative luminance".
    """
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours.

    Args:
        one: ``#rrggbb``.
        other: ``#rrggbb``.

    Returns:
        1 to 21, as in WCAG 2.1, "contrast ratio".
    """
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
