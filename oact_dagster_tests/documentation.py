"""The pages of the documentation, taken apart: fenced blocks, the commands in them, headings and links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.is_file()
]
"""None where there is no repository, but an installed package."""

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SHELLS = ("bash", "sh", "console")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    """Of its first line, from 1."""
    language: str
    text: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Lines for the shell, one command each; of a transcript those behind a ``$``."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language in _SHELLS:
            return [command for line in lines for command in _split(line.removeprefix("$ "))]
        return [command for line in lines if line.startswith("$ ") for command in _split(line[2:])]


def _split(line: str) -> list[str]:
    """The commands of a line, without a comment."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars="&")
    lexer.whitespace_split = True
    # A # inside of a word begins no comment.
    lexer.commenters = ""
    found: list[str] = []
    words: list[str] = []
    for word in lexer:
        if word.startswith("#"):
            break
        if word == "&&":
            found.append(" ".join(words))
            words = []
        else:
            words.append(word)
    return [*found, *([" ".join(words)] if words else [])]


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        indent = match[1]
        body = "".join(line.removeprefix(indent) for line in match[3].splitlines(keepends=True))
        yield Block(page, text.count("\n", 0, match.start()) + 2, match[2], body)


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found = set()
    for title in re.findall(r"^#+ +(.+?) *$", prose_of(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def links_of(page: Path) -> list[str]:
    """Where a page's links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", prose_of(page).replace("\n", " "))
