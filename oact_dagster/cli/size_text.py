"""Sizes in readable units."""

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def size_text(number: float) -> str:
    """Bytes in decimal units, as disks are sold and quotas are set."""
    exponent = 0
    while number >= 999.5 and exponent < len(_UNITS) - 1:
        number /= 1000
        exponent += 1
    return f"{number:.3g} {_UNITS[exponent]}"
