"""Histogram of values."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from oact_dagster.pictures.axes import Scale, linear_ticks, nice_step, tick_text, widened
from oact_dagster.pictures.frame import BOTTOM, LEFT, RIGHT, TOP, Axis, chart, counted_as
from oact_dagster.pictures.palette import SERIES
from oact_dagster.pictures.svg import element, finite, nothing_yet

_MOST_BINS: Final = 40
_FEWEST_BINS: Final = 8

_FAR: Final = 10.0
"""A value is an outlier beyond this many interquartile ranges from the nearer quartile."""

_FEW: Final = 0.1
"""Largest share of outliers; if more values are far out, none is an outlier."""


def histogram(
    values: Iterable[float | None], label: str, *, title: str = "", counted: str = "structures"
) -> str:
    """Draw the number of values in bins with round edges: SVG of 640 x 300 pixels.

    A few outliers could squeeze all other values into one bin. The axis then ends before them, and the chart says how
    many there are. None, NaN and infinities are left out. The label says what the values are, with the unit, and
    ``counted`` what has them, in the plural.
    """
    found = np.fromiter((value for value in values if finite(value)), dtype=float)
    if not len(found):
        return nothing_yet(title=title)
    integer = bool(np.all(found == np.round(found)) and np.abs(found).max() < 2**53)
    low, high = _limits(found)
    edges = _edges(found, low, high, integer=integer)
    counts, _ = np.histogram(found, edges)
    outside = len(found) - int(counts.sum())
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, RIGHT)
    y = Scale(0, max(float(counts.max()) * 1.05, 1), BOTTOM, TOP)
    step = float(edges[1] - edges[0])
    bars = []
    for begin, end, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if not count:
            continue
        left, right, top = x(float(begin)), x(float(end)), y(float(count))
        # A bin of whole numbers extends 0.5 beyond them on each side.
        texts = (begin + 0.5, end - 0.5) if integer else (begin, end)
        told = " to ".join(dict.fromkeys(tick_text(float(text), step) for text in texts))
        bars.append(
            element(
                "rect",
                element("title", f"{told}: {count:,}"),
                x=left + 0.5,
                y=top,
                width=max(right - left - 1, 0.8),
                height=BOTTOM - top,
            )
        )
    note = counted_as(len(found), "value")
    if outside:
        note += f" from {found.min():.3g} to {found.max():.3g}, {outside:,} of them outside"
    return chart(
        Axis(x, linear_ticks(x.low, x.high, 8, integer=integer), label),
        Axis(y, linear_ticks(0, y.high, 5, integer=True), counted),
        element("g", "".join(bars), fill=SERIES[0]),
        title=title,
        note=note,
    )


def _limits(found: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the limits of the axis: those of the values, without a few outliers."""
    quarters = np.quantile(found, (0.25, 0.75))
    reach = _FAR * float(quarters[1] - quarters[0])
    near = found[(found >= quarters[0] - reach) & (found <= quarters[1] + reach)]
    if reach == 0 or len(found) - len(near) > _FEW * len(found):
        near = found
    return float(near.min()), float(near.max())


def _edges(
    found: npt.NDArray[np.float64], low: float, high: float, *, integer: bool
) -> npt.NDArray[np.float64]:
    """Return round edges of about as many bins as the Freedman-Diaconis rule gives (doi 10.1007/BF01025868)."""
    low, high = widened(low, high, integer=integer)
    quarters = np.quantile(found, (0.25, 0.75))
    width = 2 * float(quarters[1] - quarters[0]) / len(found) ** (1 / 3)
    wanted = (high - low) / width if width > 0 else float(_FEWEST_BINS)
    step = nice_step(high - low, int(min(max(wanted, _FEWEST_BINS), _MOST_BINS)), integer=integer)
    first, last = np.floor(low / step), np.floor(high / step) + 1
    return (np.arange(first, last + 1) * step) - (0.5 if integer else 0.0)
