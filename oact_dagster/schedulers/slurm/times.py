"""Slurm's formats for time spans and amounts of memory."""

import math
import re
from typing import Final

_SPAN: Final = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)[nc]?")
_MB: Final = {"": 2.0**-20, "K": 2.0**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20, "P": 2.0**30}


def seconds_of(text: str) -> float | None:
    """A span such as ``1-02:03:04.5``, ``02:03:04`` or ``03:04.512`` in s; infinity for no limit, None if invalid."""
    if text.strip().upper() in ("UNLIMITED", "INFINITE"):
        return math.inf
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = found.groups()
    return int(days or 0) * 86400.0 + int(hours or 0) * 3600.0 + int(minutes) * 60.0 + float(seconds)


def megabytes_of(text: str) -> float | None:
    """An amount such as ``1234K``, ``1.5G`` or ``1048576`` (bytes) in Slurm's MB, of 1024 kB; None if invalid."""
    found = _AMOUNT.fullmatch(text.strip())
    return None if found is None else float(found[1]) * _MB[found[2]]


def slurm_time(minutes: float) -> str:
    """Minutes in Slurm's format: ``4:00:00``, ``1-00:00:00``."""
    whole = round(minutes)
    days, rest = divmod(whole, 1440)
    hours = f"{rest // 60:02d}" if days else str(rest // 60)
    return f"{f'{days}-' if days else ''}{hours}:{rest % 60:02d}:00"
