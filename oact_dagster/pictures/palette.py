"""The colours of the pictures, each with a contrast of at least 3:1 on white and on dark pages.

Backgrounds are transparent, so one picture must do for both. Each colour therefore has a luminance between 0.12 and
0.30 (WCAG 2.1, success criterion 1.4.11: 3:1 for graphics).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

INK: Final = "#777b82"
"""Text, axes and ticks."""

SERIES: Final = ("#3b82d6", "#d5701e", "#2b9a5c", "#cc4a4a", "#9466c9", "#17909e", "#a3783a", "#c45a94")

STATUS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "completed": "#2b9a5c",
        "running": "#3b82d6",
        "to_run": "#878b92",
        "failed": "#cc4a4a",
        "timeout": "#d5701e",
    }
)
"""The colours of a structure's statuses, in drawing order."""


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour ``#rrggbb``, 0 (black) to 1 (white), as defined in WCAG 2.1."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours ``#rrggbb``, 1 to 21, as defined in WCAG 2.1."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
