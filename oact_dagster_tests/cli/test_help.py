"""Help: there for every command, with an example, and without the imports that cost seconds."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from oact_dagster.cli import main
from oact_dagster_tests.cli.command import environment, oact

COMMANDS = sorted(main.commands)
SLOW_IMPORTS = ("dagster", "pandas", "numpy", "rich", "pyarrow", "parsl", "sqlalchemy")
README = Path(__file__).parents[2] / "README.md"


def test_the_commands_are_there() -> None:
    assert {"demo", "init", "run", "web", "dashboard", "release"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps_with_an_example(name: str) -> None:
    done = oact(name, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(rf"Example:\n +oact {name}\b", done.stdout)


def test_each_option_is_explained() -> None:
    for command in main.commands.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "port":
                assert parameter.help, f"oact {command.name} {parameter.opts}"


def test_summaries_are_shown_whole() -> None:
    with click.Context(main, info_name="oact", terminal_width=80) as context:
        shown = main.get_help(context)
    for name in COMMANDS:
        (summary,) = re.findall(rf"^  {name} +(.*)$", shown, re.MULTILINE)
        assert summary.endswith(".") and not summary.endswith("..."), f"oact {name}: {summary}"


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom oact_dagster.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('IMPORTED', [name for name in {SLOW_IMPORTS!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("IMPORTED []\n"), done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented(name: str) -> None:
    if not README.is_file():
        pytest.skip("README.md is in the repository only")
    assert f"oact {name}" in README.read_text(encoding="utf-8")
