"""Values by element in a chemist's notation: ``H-He 9, Li 17`` instead of three entries."""

from oact_dagster.orca.elements import ATOMIC_NUMBERS, SYMBOLS


def by_element(spans: str) -> dict[str, int]:
    """Read ``"H-He 9, Li 17"`` as ``{"H": 9, "He": 9, "Li": 17}``.

    ``spans`` are elements or ranges of the periodic table, each with a whole number, separated by commas.
    """
    values: dict[str, int] = {}
    for span in spans.split(","):
        elements, number = span.split()
        first, _, last = elements.partition("-")
        for z in range(ATOMIC_NUMBERS[first], ATOMIC_NUMBERS[last or first] + 1):
            values[SYMBOLS[z - 1]] = int(number)
    return values


def as_spans(elements: frozenset[str]) -> str:
    """Return elements as ranges of the periodic table, such as ``H-Kr, Ac-Lr``."""
    numbers = sorted(ATOMIC_NUMBERS[element] for element in elements)
    starts = [z for z in numbers if z - 1 not in numbers]
    ends = [z for z in numbers if z + 1 not in numbers]
    return ", ".join(
        SYMBOLS[a - 1] if a == b else f"{SYMBOLS[a - 1]}-{SYMBOLS[b - 1]}"
        for a, b in zip(starts, ends, strict=True)
    )
