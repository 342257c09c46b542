"""Bar with the share of each status."""

from collections.abc import Mapping
from typing import Final

from oact_dagster.pictures.frame import RIGHT, WIDTH, heading, legend
from oact_dagster.pictures.palette import SERIES, STATUS
from oact_dagster.pictures.svg import element, escape, finite, nothing_yet, picture

_LEFT: Final = 8
_HEIGHT: Final = 24


def status_bar(counts: Mapping[str, int], *, title: str = "") -> str:
    """Draw one bar, 640 pixels wide, divided by the counts of the ledger's statuses, and a legend with the numbers.

    ``ready`` counts as to run. Unknown statuses get other colours.
    """
    known = _in_order(counts)
    total = sum(known.values())
    if not total:
        return nothing_yet(title=title)
    free = iter(SERIES[4:] * (len(known) + 1))
    colours = {status: STATUS.get(status) or next(free) for status in known}
    top = 30 if title else 8
    parts = [heading(title)]
    along = float(_LEFT)
    for status, count in known.items():
        wide = (RIGHT - _LEFT) * count / total
        name = status.replace("_", " ")
        told = element("title", escape(f"{name}: {count:,} ({_percent(count, total)})"))
        parts.append(
            element(
                "rect", told, x=along, y=top, width=max(wide - 1, 1), height=_HEIGHT, fill=colours[status]
            )
        )
        along += wide
    entries = [
        (f"{status.replace('_', ' ')} {count:,} ({_percent(count, total)})", colours[status])
        for status, count in known.items()
    ]
    names, baseline = legend(entries, _LEFT, top + _HEIGHT + 22)
    return picture(WIDTH, round(baseline + 10), "".join([*parts, names]), title=title)


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts above 0, in the order of the statuses."""
    known = dict.fromkeys(STATUS, 0)
    for status, count in counts.items():
        if finite(count) and count > 0:
            name = "to_run" if status == "ready" else status
            known[name] = known.get(name, 0) + int(count)
    return {status: count for status, count in known.items() if count}


def _percent(count: int, total: int) -> str:
    """Return a percentage, in which only all is 100 % and only none is 0 %."""
    part = 100 * count / total
    if part in (0, 100) or 0.1 <= part <= 99.9:
        return f"{part:.1f} %" if part % 1 else f"{part:.0f} %"
    return "< 0.1 %" if part < 1 else "> 99.9 %"
