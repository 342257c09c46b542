"""Parser of a user's own ORCA input lines: the keywords of ``!`` lines and the words of ``%`` blocks.

ORCA reads a block up to its ``end``, wherever that stands. Without it the block swallows whatever follows, even the
coordinates. Some keys open a nested block that has its own ``end``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import InputRefused

_STRING_OR_COMMENT: Final = re.compile(r'"[^"]*"|#[^#]*#?')
_BRACES: Final = re.compile(r"\{[^{}]*\}")
_A_STRING: Final = '""'
_DATA: Final = "{}"
_WITHOUT_END: Final = frozenset({"%moinp", "%maxcore", "%base", "%pointcharges", "%ljcoefficients"})
_OPENERS: Final = {
    "%scf": frozenset({"rotate"}),
    "%geom": frozenset({"constraints", "scan", "modifyinternal", "connectfragments"})
    | {"ts_mode", "ts_active_atoms", "hybrid_hess"},
    "%method": frozenset({"newncore"}),
    "%basis": frozenset(
        {"newgto", "newecp", "addgto", "newauxjgto", "newauxjkgto", "newauxcgto", "newcabsgto", "addauxjgto"}
    ),
}
"""Keys that open a nested block, which needs its own ``end``."""
_MAY_OPEN: Final = {"%scf": frozenset({"shift", "damp", "diis", "soscf", "nr", "gdiis"})}
"""Keys that open a nested block unless a value follows, as in ``Shift Shift 0.1 ErrOff 0.1 end``."""
_ALL_KEYS_KNOWN: Final = frozenset({"%scf", "%geom", "%elprop", "%output"})
"""Blocks in which nothing else (but a key before braces) opens a nested block, so a stray ``end`` can be detected."""
_VALUE: Final = re.compile(r"[-+]?\.?\d.*|true|false|on|off")
_MALFORMED: Final = "malformed extra line"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a user's own lines."""

    word: str
    """The word in lower case; a keyword as it was written."""
    line: str
    block: str
    """Name of its block (``%scf``); ``!`` for a keyword."""


def own_words(lines: Sequence[str]) -> list[Word]:
    """Split a user's own lines into words, in order, without comments and strings.

    A block's first word is its name; its ``end`` is left out.

    Raises:
        InputRefused: A line is not a single line, a block is not closed, or a word is outside any block.
    """
    found: list[Word] = []
    block: _Block | None = None
    in_keywords = False
    words = [(word, line, place) for line in lines for place, word in enumerate(_words(line))]
    following = [*(word.lower() for word, _, _ in words[1:]), ""]
    for (raw, line, place), after in zip(words, following, strict=False):
        word = raw.lower()
        in_keywords = in_keywords and place > 0
        if raw.startswith("%") or (raw.startswith("!") and not in_keywords):
            if block is not None:
                block.close()
            in_keywords = raw.startswith("!")
            block = None if in_keywords else _Block(word, line)
            if block is not None:
                found.append(Word(word, line, word))
                continue
        if in_keywords:
            found += [Word(each, line, "!") for each in raw.split("!") if each]
        elif block is None or not block.take(word, after):
            what = "an end without a block" if word == "end" else f"{raw!r} outside any block"
            raise InputRefused(
                f"the extra line {line!r} has {what}; expected ! and keywords, or a % block with its end",
                kind=_MALFORMED,
            )
        elif word != "end":
            found.append(Word(word, line, block.name))
    if block is not None:
        block.close()
    return found


def _words(line: str) -> list[str]:
    if not isinstance(line, str) or not line.strip() or not line.isprintable():
        raise InputRefused(f"the extra line {line!r} is empty or has a newline or control character")
    code = _STRING_OR_COMMENT.sub(lambda found: f" {_A_STRING} " if found[0][0] == '"' else " ", line)
    if '"' in code.replace(_A_STRING, ""):
        raise InputRefused(f"the extra line {line!r} has an unclosed quote", kind=_MALFORMED)
    # A comment may stand in the middle of a line; both parts around it count. Text in braces is data.
    code = _BRACES.sub(f" {_DATA} ", code).replace("=", " ").replace(";", " ")
    return re.sub(r"(^|\s)([%!])\s+(?=\w)", r"\1\2", code).split()


class _Block:
    """An open block, which counts the ``end`` words that it needs and has got."""

    def __init__(self, name: str, line: str) -> None:
        self.name = name
        self._line = line
        self._needed = 0 if name in _WITHOUT_END else 1
        self._more = 0
        self._before = ""
        self._ended = 0
        self._n_words = 0
        self._only_a_string = False

    def take(self, word: str, following: str) -> bool:
        """Take a word, given the one after it; return whether the block may contain it."""
        if self.name in _WITHOUT_END:
            self._n_words += 1
            return self._n_words == 1
        if self.name in _ALL_KEYS_KNOWN and self._ended >= self._needed + self._more:
            return False
        if word == "end":
            self._ended += 1
        self._only_a_string = self._n_words == 0 and word == _A_STRING
        self._n_words += 1
        # In "Shift Shift 0.1 end" the second word has a value, so it opens nothing.
        has_value = _VALUE.match(following) is not None
        if word in _OPENERS.get(self.name, ()) or (word in _MAY_OPEN.get(self.name, ()) and not has_value):
            self._needed += 1
        elif word == _DATA and self._before not in (_DATA, *_OPENERS.get(self.name, ())):
            self._more += 1
        self._before = word
        return True

    def close(self) -> None:
        """Check that the block is closed.

        Raises:
            InputRefused: An ``end`` is missing.
        """
        # A block that is just one string names a file and has no end: %compound "file".
        if self._ended < self._needed and self.name not in _WITHOUT_END and not self._only_a_string:
            raise InputRefused(
                f"the extra line {self._line!r} opens {self.name} without its end, so the block would swallow the "
                "coordinates; add each missing end",
                kind=_MALFORMED,
            )
