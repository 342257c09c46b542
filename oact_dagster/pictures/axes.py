"""Scales and their ticks: at round numbers, powers of ten, or round times in UTC."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

_TIME_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(minutes * MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 7, 14)),
)
"""Possible steps of a time axis in s; longer axes have months or years."""

_MONTH_STEPS: Final = (1, 2, 3, 6, 12)

_MONDAY: Final = 4 * DAY
"""Unix time of a Monday. Weekly ticks are on Mondays."""

MINUS: Final = "\u2212"
"""The true minus sign, as wide as a plus."""

_SMALLEST: Final = 1e-100
_LARGEST: Final = 1e15
_LAST_TIME: Final = 253_000_000_000
"""Unix time in the year 9987, near the end of ``datetime``'s range."""


class Tick(NamedTuple):
    """A mark on an axis."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from ``low`` to ``high`` to positions from ``start`` to ``end``, in user units.

    ``high`` is greater than ``low``, ``end`` less than ``start`` on an axis that goes up, and ``low`` positive on a
    logarithmic scale.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value in user units; a logarithmic scale takes only positive values."""
        if self.log:
            part = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def nice_step(span: float, most: int, *, integer: bool = False) -> float:
    """Return the smallest round step (1, 2 or 5 times a power of ten) that divides a span into at most ``most`` steps.

    ``integer`` asks for a whole number.
    """
    least = span / most
    if integer and least <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    # The last factor also covers what rounding lifts above 5.
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least * (1 - 1e-9))


def widened(low: float, high: float, *, integer: bool = False) -> tuple[float, float]:
    """Return the limits of an axis, widened if they coincide; ``integer`` says that the values are counts."""
    if high - low > max(1e-12 * max(abs(low), abs(high)), _SMALLEST):
        return low, high
    if not integer and abs(low) > _SMALLEST:
        return low - 0.1 * abs(low), high + 0.1 * abs(low)
    # Above 2**53, adding one does not change a float.
    half = max(1.0, abs(low) * 1e-9)
    return low - half, high + half


def linear_ticks(low: float, high: float, most: int = 6, *, integer: bool = False) -> list[Tick]:
    """Return ticks at round (or only at whole) numbers, ascending, with at most ``most`` steps between them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high - low < _SMALLEST:
        return []
    step = nice_step(high - low, most, integer=integer)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        Tick(place * step, tick_text(place * step, step))
        for place in range(first, min(last, first + 100) + 1)
    ]


def tick_text(value: float, step: float) -> str:
    """Return the shortest text that distinguishes a tick from neighbours at a distance of ``step``.

    Examples are ``0.25``, ``1,500`` and ``2e20``, with a true minus sign.
    """
    if abs(value) < step / 1e6:
        return "0"
    if abs(value) >= _LARGEST or step < 1e-6:
        digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9))
        text = f"{value:.{digits}e}"
    else:
        text = f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    if "e" not in text:
        return text.replace("-", MINUS)
    mantissa, _, power = text.partition("e")
    return f"{mantissa.replace('-', MINUS)}e{int(power)}"


def log_ticks(low: float, high: float, most: int = 6) -> list[Tick]:
    """Return ticks at powers of ten, ascending; also at 2 and 5 times those if the axis spans fewer than two powers."""
    if not (0 < low < high < math.inf):
        return []
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        step = -(-(last - first) // most)
        return [
            Tick(10.0**power, _power_text(power)) for power in range(-(-first // step) * step, last + 1, step)
        ]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    found = [
        Tick(value, f"{value:,.10g}") for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
    ]
    return found if len(found) > 1 else linear_ticks(low, high, 3)


def _power_text(power: int) -> str:
    return f"{10.0**power:,.10g}" if -3 < power < 6 else f"1e{power}"


def time_ticks(low: float, high: float, most: int = 6) -> list[Tick]:
    """Return ticks at round times in UTC for an axis of Unix times (s); none for times before 1970.

    Only the first date of a year shows the year, and only the first time of a day shows the date.
    """
    if not 0 <= low < high < _LAST_TIME:
        return []
    step = next((step for step in _TIME_STEPS if step >= (high - low) / most), None)
    if step is None:
        return _month_ticks(low, high, most)
    offset = _MONDAY if step >= 7 * DAY else 0
    first, last = math.ceil((low - offset) / step), math.floor((high - offset) / step)
    ticks: list[Tick] = []
    told: str | None = None
    for time in (offset + place * step for place in range(first, last + 1)):
        when = datetime.fromtimestamp(time, UTC)
        if step >= DAY:
            once, always = f"{when:%Y}-", f"{when:%m-%d}"
        else:
            once, always = f"{when:%m-%d} ", f"{when:%H:%M:%S}" if step < MINUTE else f"{when:%H:%M}"
        ticks.append(Tick(float(time), always if once == told else once + always))
        told = once
    return ticks


def _month_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Return ticks at the first day of months or years."""
    begin, end = (datetime.fromtimestamp(time, UTC) for time in (low, high))
    first, last = begin.year * 12 + begin.month, end.year * 12 + end.month - 1
    least = (last - first) / most
    step = next((step for step in _MONTH_STEPS if step >= least), None)
    step = step or 12 * int(nice_step((last - first) / 12, most, integer=True))
    months = [divmod(month, 12) for month in range(-(-first // step) * step, last + 1, step)]
    return [
        Tick(
            datetime(year, month + 1, 1, tzinfo=UTC).timestamp(),
            f"{year}" if step >= 12 else f"{year}-{month + 1:02d}",
        )
        for year, month in months
    ]
