"""Imports point one way, as docs/architecture.md says: all import statements of the package, in functions too."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import oact_dagster

ROOT = Path(oact_dagster.__file__).parent
PAGE = ROOT.parent / "docs" / "architecture.md"
PACKAGE = "oact_dagster"
SAME = {"definitions": "defs", "__main__": "cli"}
"""Single modules that belong to a package: the entry points of Dagster and of ``python -m``."""
DIVIDED = {"orca"}
"""Packages whose folders are rooms of their own."""


def imported(file: Path) -> Iterator[str]:
    """The full names of the modules that a file imports; of ``from a import b`` both a and a.b, which may be one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{file}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(parts: Sequence[str]) -> str:
    """The room of a module, by the parts of its name below the package: ``orca.inputs`` is one beside ``orca``."""
    name = SAME.get(parts[0], parts[0])
    inner = f"{name}.{parts[1]}" if len(parts) > 1 else ""
    return inner if ROOT.joinpath(*inner.split(".")).is_dir() and name in DIVIDED else name


def package_of_file(file: Path) -> str:
    return package_of(file.relative_to(ROOT).with_suffix("").parts)


FILES = sorted(ROOT.rglob("*.py"))


def modules_imported(file: Path) -> set[str]:
    """The modules of this project that a file imports: a name that is imported from a module counts as that module."""
    names = {name for name in imported(file) if name.startswith(f"{PACKAGE}.") and module_file(name)}
    # A package counts only where something of its own is imported, and not for the modules in it.
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


def real_imports() -> dict[str, set[str]]:
    """What each package imports of the others."""
    packages = {package_of_file(file) for file in FILES}
    found: dict[str, set[str]] = {name: set() for name in packages}
    for file in FILES:
        for name in modules_imported(file):
            other = package_of(name.split(".")[1:])
            if other in packages and other != package_of_file(file):
                found[package_of_file(file)].add(other)
    del found["__init__"]
    return found


def told_imports() -> dict[str, set[str]]:
    """The page's table, in its order."""
    if not PAGE.is_file():
        pytest.skip("docs/architecture.md is in the repository only")
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and (name := re.fullmatch(r"`([\w.]+)`", cells[1])):
            found[name[1]] = set(re.findall(r"`([\w.]+)`", cells[3]))
    return found


def test_imports_are_as_the_page_says() -> None:
    assert told_imports() == real_imports()


def test_each_package_imports_only_what_stands_below_it() -> None:
    told = told_imports()
    names = list(told)
    for place, name in enumerate(names):
        assert told[name] <= set(names[place + 1 :]), name


def test_only_what_dagster_sees_imports_dagster() -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for file in FILES:
        for name in imported(file):
            users[name.split(".")[0]].add(file.relative_to(ROOT).as_posix())
    assert {file for file in users["dagster"] if not file.startswith("defs/")} == {"definitions.py"}
    assert {file for file in users["dagster_pipes"] if not file.startswith("defs/")} == {
        "launchers/payload.py"
    }


def test_the_package_itself_imports_nothing() -> None:
    assert list(imported(ROOT / "__init__.py")) == []


def module_file(name: str) -> Path | None:
    """The file of a module of the package."""
    path = ROOT.parent.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def payload_modules() -> frozenset[str]:
    """Modules of the package that the payload imports, with everything that those import, also in functions."""
    reached: set[str] = set()
    waiting = {"oact_dagster.launchers.payload"}
    while waiting:
        name = waiting.pop()
        file = module_file(name)
        if file is not None and name not in reached:
            reached.add(name)
            waiting.update(other for other in imported(file) if other.split(".")[0] == PACKAGE)
    return frozenset(reached)


def test_the_payload_reaches_little() -> None:
    """It is started once for each structure."""
    reached = payload_modules()
    used = {
        other.split(".")[0] for name in reached if (file := module_file(name)) for other in imported(file)
    }
    strangers = used - sys.stdlib_module_names - {PACKAGE}
    ours = {name.split(".")[1] for name in reached if "." in name}
    assert ours == {"launchers", "orca", "files"}
    assert {name.split(".")[2] for name in reached if name.startswith("oact_dagster.launchers.")} == {
        "payload",
        "attempt_files",
        "node_scratch",
    }
    # isal decompresses faster where it is installed.
    assert strangers == {"dagster_pipes", "isal"}


def test_no_room_holds_more_than_an_eighth_of_the_lines() -> None:
    lines: dict[str, int] = defaultdict(int)
    for file in FILES:
        lines[package_of_file(file)] += len(file.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) <= sum(lines.values()) / 8, sorted(lines.items(), key=lambda item: -item[1])


def test_no_two_modules_import_each_other() -> None:
    """Not even through others, and not inside a function."""
    graph = {module_name(file): modules_imported(file) for file in FILES}
    while done := {name for name, needed in graph.items() if not needed & graph.keys()}:
        for name in done:
            del graph[name]
    in_turn = {name for name in graph if any(name in needed for needed in graph.values())}
    assert in_turn == set()


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")
