"""The sum formula of a molecule."""

from collections import Counter
from collections.abc import Iterable


def hill_formula(symbols: Iterable[str]) -> str:
    """The formula in Hill order: carbon, hydrogen, the rest by the alphabet; that alone without carbon.

    Args:
        symbols: Of the atoms, in any order.
    """
    counts = Counter(symbols)
    first = [symbol for symbol in ("C", "H") if symbol in counts] if "C" in counts else []
    ordered = first + sorted(counts.keys() - set(first))
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in ordered)
