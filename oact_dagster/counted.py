"""How many there are of something, in words."""


def counted(count: int, noun: str) -> str:
    """``1 row``, and ``2 rows``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
