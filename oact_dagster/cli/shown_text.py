"""Text from elsewhere, made safe for a terminal: one line, cut, and without control characters."""

from typing import Final

CUT: Final = "..."


def one_line(text: str | None, width: int) -> str:
    """A text of any length and content, on one line of at most ``width`` characters; the ledger keeps it whole."""
    if not text:
        return ""
    # Only the visible part is processed: some messages are a megabyte long.
    line = " ".join(text[: 4 * width + 200].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    whole = len(line) <= width and len(text) <= 4 * width + 200
    return line if whole else line[: width - len(CUT)].rstrip() + CUT


def printable(text: str, encoding: str | None) -> str:
    """A text with the characters replaced that its output cannot show."""
    try:
        return text.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    except LookupError:
        return text.encode("ascii", "replace").decode("ascii")
