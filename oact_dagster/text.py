"""Counts in words, and texts from elsewhere on one line."""


def pluralise(count: int, noun: str, one: str = "", many: str = "", *, form: str = "d") -> str:
    """``1 row`` or ``2 rows``; with a predicate, ``1 row is new`` or ``2 rows are new``.

    Args:
        count: how many there are.
        noun: in the singular; the plural adds an ``s``.
        one: predicate of a single one.
        many: predicate otherwise.
        form: format of the number; ``,`` separates thousands.
    """
    counted, predicate = (f"{count:{form}} {noun}", one) if count == 1 else (f"{count:{form}} {noun}s", many)
    return f"{counted} {predicate}" if predicate else counted


def one_line(text: str | None, width: int, cut: str = "...") -> str:
    """A text of any length and content on one line of at most ``width`` characters, ``cut`` at the end if shortened."""
    if not text:
        return ""
    # Only the visible part is processed: some messages are a megabyte long.
    line = " ".join(text[: 4 * width + 200].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    whole = len(line) <= width and len(text) <= 4 * width + 200
    return line if whole else line[: width - len(cut)].rstrip() + cut


def printable(text: str, encoding: str | None) -> str:
    """The text with ``?`` for every character that the output's encoding lacks."""
    try:
        return text.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    except LookupError:
        return text.encode("ascii", "replace").decode("ascii")
