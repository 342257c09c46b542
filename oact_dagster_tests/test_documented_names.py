"""The names of the project in README.md, CONTRIBUTING.md and docs/ exist: its files, its modules, what they define.

The commands there have tests in `test_documentation.py`.
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from oact_dagster_tests.documentation import PAGES, ROOT, prose_of

OURS = ("oact_dagster", "oact_dagster_tests", "benchmarks", "docs", ".ci")
FILES = [
    file.relative_to(ROOT).as_posix()
    for folder in OURS
    for file in (ROOT / folder).rglob("*")
    if "__pycache__" not in file.parts
] + [file.name for file in ROOT.iterdir()]
"""The project's files and folders."""

STARTS = {*OURS, *(folder.name for folder in (ROOT / "oact_dagster").iterdir() if folder.is_dir())}
NOT_HERE = re.compile(r"\bpbs\b|\brest_s\b|run_retries")
"""PBS and `rest_s` are the examples of a scheduler and a setting to be written; `run_retries` is Dagster's."""

pytestmark = pytest.mark.skipif(not PAGES, reason="README.md and docs/ are in the repository only")


def code_in(page: Path) -> list[str]:
    """What stands in backticks in a page's sentences."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose_of(page))]


def is_path(word: str) -> bool:
    """Whether a word can only be one of the project's files or folders."""
    ours = word.endswith((".py", ".md")) or ("/" in word and word.split("/")[0] in STARTS)
    return ours and bool(re.fullmatch(r"[\w./-]+", word)) and not NOT_HERE.search(word)


def is_there(path: str) -> bool:
    """Whether a file or folder has this path, or one that ends with it: `attempts/batch.py` is one of the package."""
    path = path.removeprefix("./").rstrip("/")
    return any(file == path or file.endswith(f"/{path}") for file in FILES)


def dotted_in(page: Path) -> Iterator[str]:
    """The names below `oact_dagster`, also in the page's blocks."""
    for match in re.finditer(r"\boact_dagster(?:_tests)?(?:\.\w+)+", page.read_text(encoding="utf-8")):
        if not match[0].endswith((".py", ".yaml", ".egg")):
            yield match[0]


def look_up(name: str) -> object:
    """A module, or what one defines.

    Raises:
        AttributeError, ImportError: there is none.
    """
    package, *rest = name.split(".")
    found: object = importlib.import_module(package)
    for part in rest:
        package = f"{package}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(package)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    words = {word for code in code_in(page) for word in code.split() if is_path(word)}
    assert [word for word in sorted(words) if not is_there(word)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dotted_names_exist(page: Path) -> None:
    for name in dotted_in(page):
        look_up(name)


def test_what_the_page_of_the_architecture_names_is_in_the_code() -> None:
    """Classes, functions, methods and settings: each part of such a name is a word of the package or its tests."""
    sources = [*(ROOT / "oact_dagster").rglob("*.py"), *(ROOT / "oact_dagster_tests").rglob("*.py")]
    known = set(re.findall(r"\w+", " ".join(file.read_text(encoding="utf-8") for file in sources)))
    for code in code_in(ROOT / "docs" / "architecture.md"):
        if re.fullmatch(r"[A-Za-z_][\w.]*(\(\w*\))?", code) and not (is_path(code) or NOT_HERE.search(code)):
            assert set(re.findall(r"\w+", code)) <= known, code


def test_what_a_page_says_is_in_a_file_is_in_it() -> None:
    """Of `BatchRun` (`attempts/batch.py`) the name is a word of the file."""
    found = 0
    for page in PAGES:
        for name, path in re.findall(r"`([\w.]+)`\s+\(`([\w/]+\.py)`\)", prose_of(page)):
            files = [ROOT / file for file in FILES if f"/{file}".endswith(f"/{path}")]
            text = "".join(file.read_text(encoding="utf-8") for file in files)
            assert set(name.split(".")) <= set(re.findall(r"\w+", text)), f"{page.name}: {name} in {path}"
            found += 1
    assert found >= 5
