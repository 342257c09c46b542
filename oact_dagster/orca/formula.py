"""The sum formula of a molecule."""

from collections import Counter
from collections.abc import Iterable


def hill_formula(symbols: Iterable[str]) -> str:
    """Return the formula in Hill order: C, H, then the rest alphabetically; purely alphabetical without carbon."""
    counts = Counter(symbols)
    first = [symbol for symbol in ("C", "H") if symbol in counts] if "C" in counts else []
    ordered = first + sorted(counts.keys() - set(first))
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in ordered)
