"""What README.md and docs/ say: each command runs, settings are accepted, Python runs, and links lead somewhere.

The blocks of a page are executed in their order, in a folder that holds a finished demo campaign of 20 structures under
all names that pages use: ``oact-demo/``, ``campaign/``, and the folder itself with ``campaign.yaml``, ``workflow.db``
and ``jobs/``. The stand-in engine takes the place of ORCA.
"""

import contextlib
import csv
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import psutil
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

import oact_dagster.demo
from oact_dagster.cli import main
from oact_dagster.cli.environment import variables
from oact_dagster.quality.limits import QualityLimits
from oact_dagster.quality.rules import QUALITY_RULES
from oact_dagster.schedulers.slurm.states import why_pending
from oact_dagster.settings.campaign import Campaign, load_campaign, read_campaign
from oact_dagster.settings.descriptions import section_of, setting_text, yaml_value
from oact_dagster.settings.profiles import PROFILES_VARIABLE
from oact_dagster.status.quality import CAMPAIGN_RULES
from oact_dagster_tests.cli.command import environment
from oact_dagster_tests.cli.test_web import free_port
from oact_dagster_tests.documentation import (
    PAGES,
    ROOT,
    Block,
    anchors_of,
    blocks_of,
    links_of,
    prose_of,
)
from oact_dagster_tests.requirements import lacking
from oact_dagster_tests.waiting import until

STRUCTURES = 20
REAL = {"/opt/orca/orca": "standin"}
"""What stands in a page, and what takes its place."""

NOT_RUN = {
    r"pip install .*": "changes the environment that the tests run in",
    r"pre-commit install": "changes the repository",
    r"pytest( .*)?": "would run the tests inside of a test",
    r"ssh .*": "needs another machine",
    r"createdb .*": "needs a PostgreSQL server",
    r"export (DAGSTER_HOME=/shared|OACT_PG_).*": "needs a PostgreSQL server",
    r'cp "\$\(python -c .*': "goes with the PostgreSQL server",
    r"(sbatch|salloc|flux alloc) .*": "needs a cluster",
    r"oact submit .*--use-parsl.*": "needs a node of 64 cores",
    r"oact submit .*--scheduler.*": "needs a scheduler",
    r"oact submit campaign --batch-size 100 --max-in-flight 500": "needs a scheduler",
}
"""Commands that no test can run, and why. Of `oact` and `dagster` in them the arguments are checked."""

SERVERS = r"oact web .*|dagster-webserver .*|dagster-daemon run .*|oact dashboard .*--watch.*"
"""Commands that go on until they are stopped."""

pytestmark = pytest.mark.skipif(not PAGES, reason="README.md and docs/ are in the repository only")
COMMANDS = [(block, command) for page in PAGES for block in blocks_of(page) for command in block.commands]
WITH_COMMANDS = [page for page in PAGES if any(block.page == page for block, _ in COMMANDS)]


def not_run(command: str) -> str | None:
    """Why a command is not run."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def dagster() -> click.Command:
    from dagster._cli import create_dagster_cli

    return create_dagster_cli()  # type: ignore[no-any-return,no-untyped-call]


def check_arguments(words: list[str]) -> None:
    """Parse what stands behind `oact` or `dagster` as the real command would.

    Raises:
        ClickException: it is not accepted.
    """
    command: click.Command = main if words[0] == "oact" else dagster()
    rest, parent = words[1:], None
    while isinstance(command, click.Group):
        assert rest and rest[0] in command.commands, f"{words[0]} has no command {rest[:1]}"
        parent = click.Context(command, info_name=words[0], parent=parent)
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], rest, parent=parent)


def ours_in(command: str) -> list[str]:
    """The words of `oact` or `dagster` in a command, also in one that another program is given."""
    words = shlex.split(command)
    # sbatch has it in one word: --wrap "exec oact run campaign.yaml".
    words = [part for word in words for part in (word.split() if " oact " in f" {word} " else [word])]
    return next((words[n:] for n, word in enumerate(words[:-1]) if word in ("oact", "dagster")), [])


@pytest.mark.parametrize(
    "command",
    dict.fromkeys(command for _, command in COMMANDS if ours_in(command)),
)
def test_arguments_are_accepted(command: str) -> None:
    check_arguments(ours_in(command))


def test_what_is_not_run_is_still_there() -> None:
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for _, command in COMMANDS), f"no page has {pattern}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_text_exist(page: Path) -> None:
    """Of `oact run CAMPAIGN --stale` in a sentence or a table the options; arguments are often left out there."""
    for code in re.findall(r"`(oact [^`]+)`", prose_of(page)):
        words = shlex.split(code.replace("\n", " "))
        if words[1].isupper() or words[1].startswith("-"):
            continue
        assert words[1] in main.commands, f"{page.name}: `{code}`"
        known = {name for parameter in main.commands[words[1]].params for name in parameter.opts} | {"--help"}
        options = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
        assert options <= known, f"{page.name}: `{code}`"


def test_options_in_the_table_of_commands_exist() -> None:
    rows = re.findall(r"^\| `oact (\w+)[^|]*\|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == set(main.commands)
    for name, told in rows:
        known = {option for parameter in main.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"`(--?[a-z][\w-]*)", told)) <= known, name


# --- commands ---------------------------------------------------------------------------------------------------


def write_small_demo(folder: Path) -> None:
    """The demo's folder with its smallest structures, before the first run."""
    source = Path(oact_dagster.demo.__file__).parent
    folder.mkdir()
    shutil.copyfile(source / "campaign.yaml", folder / "campaign.yaml")
    with (source / "structures.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        rows = sorted(reader, key=lambda row: int(row["natoms"]))[:STRUCTURES]
    with (folder / "structures.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, reader.fieldnames or ())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `oact demo` has run."""
    try:
        import tblite  # noqa: F401
    except ImportError:
        lacking("engine", "pip install 'oact-dagster[demo]'")
    folder = tmp_path_factory.mktemp("finished")
    write_small_demo(folder / "oact-demo")
    done = subprocess.run(
        [sys.executable, "-m", "oact_dagster", "demo"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "oact-demo"


def copy_of(campaign: Path, folder: Path) -> None:
    """A campaign that was copied, and lets go of the original, as docs/fsck.md has it."""
    shutil.copytree(campaign, folder, dirs_exist_ok=True)
    change = "job_dir = replace(job_dir, ?, ?)"
    with contextlib.closing(sqlite3.connect(folder / "workflow.db")) as ledger, ledger:
        for table in ("structures", "attempts"):
            ledger.execute(f"UPDATE {table} SET {change}", (str(campaign), str(folder)))


@dataclass(slots=True)
class Reader:
    """Somebody who types what a page says, from its first line to its last."""

    folder: Path
    variables: dict[str, str]
    """What the page has exported."""
    printed: dict[str, str]
    """The `export` lines that a command has printed last: for Dagster's own commands."""
    served: set[str]
    """Commands that were started and stopped on an earlier page."""

    def type(self, block: Block, command: str) -> None:
        for name, real in REAL.items():
            command = command.replace(name, real)
        if not_run(command) is not None:
            return
        if found := re.match(r"oact (?:web|demo) (\S+)", command):
            self.printed = variables(load_campaign(self.folder / found[1]))
        if re.fullmatch(SERVERS, command):
            self._serve(block, command)
        elif command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.variables[name] = value.replace("$PWD", str(self.folder))
        elif command.startswith("oact "):
            # In this process, which has Dagster loaded already.
            with environ(self.variables):
                done = CliRunner().invoke(main, shlex.split(command)[1:])
            assert done.exit_code == 0, f"{block.where}: {command}\n{done.output}\n{done.exception!r}"
        else:
            ran = subprocess.run(
                ["bash", "-euc", command],
                cwd=self.folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert ran.returncode == 0, f"{block.where}: {command}\n{ran.stdout}\n{ran.stderr}"

    def compute(self, block: Block) -> None:
        """Run a block of Python."""
        exec(compile(block.text, block.where, "exec"), {"__name__": "page"})

    def _environment(self) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return environment(**{"PATH": programs, **self.printed, **self.variables})

    def _serve(self, block: Block, command: str) -> None:
        """Start what goes on until it is stopped, see that it is there, and stop it with Ctrl+C."""
        words = shlex.split(command)
        # The same once more on another page would tell nothing new.
        kind = " ".join(word for word in words if not (self.folder / word).exists())
        if kind in self.served:
            return
        self.served.add(kind)
        port = free_port() if words[1] == "web" or words[0] == "dagster-webserver" else None
        if port is not None:
            words += ["--port", str(port)]
        log = self.folder / "server.log"
        with log.open("w+") as stream:
            server = subprocess.Popen(
                [*([sys.executable, "-m", "oact_dagster"] if words[0] == "oact" else words[:1]), *words[1:]],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            try:
                until(lambda: is_up(server, port, log), f"{block.where}: {command}")
                server.send_signal(signal.SIGINT)
                assert server.wait(60) in (0, 130, -signal.SIGINT), log.read_text()
            finally:
                for one in family(server.pid):
                    one.kill()


def family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def is_up(server: "subprocess.Popen[Any]", port: int | None, log: Path) -> bool:
    """Whether a web page answers, or another program has told what it does."""
    assert server.poll() is None, log.read_text()
    if port is None:
        return bool(re.search(r"Workflow Status Summary|Instance is configured", log.read_text()))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as answer:
            return b"dagster_webserver_version" in answer.read()
    except (urllib.error.URLError, ConnectionError):
        return False


@contextlib.contextmanager
def environ(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    for name in ("OACT_CAMPAIGN", "DAGSTER_HOME"):
        if name not in variables:
            os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


SERVED: set[str] = set()


@pytest.mark.engine
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_commands_run(page: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = list(blocks_of(page))
    copy_of(finished, tmp_path / "oact-demo")
    copy_of(finished, tmp_path)
    commands = [command for block in blocks for command in block.commands]
    if not any(command.startswith("oact init") for command in commands):
        copy_of(finished, tmp_path / "campaign")
    shutil.copyfile(finished / "structures.csv", tmp_path / "complexes.csv")
    reader = Reader(tmp_path, {}, {}, SERVED)
    for block in blocks:
        for command in block.commands:
            reader.type(block, command)
        if block.language == "python":
            reader.compute(block)
        if is_workspace(block):
            (tmp_path / "workspace.yaml").write_text(block.text)


def is_workspace(block: Block) -> bool:
    """Whether a block is a `workspace.yaml`: no settings of ours, and used by the commands behind it."""
    return block.language == "yaml" and block.text.startswith("load_from:")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles(page: Path) -> None:
    """Also on pages without commands; those of the others are run."""
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.text, block.where, "exec")


# --- settings ---------------------------------------------------------------------------------------------------

YAML = [
    block
    for page in PAGES
    for block in blocks_of(page)
    if block.language == "yaml" and not is_workspace(block)
]
BASE: dict[str, Any] = {"name": "test", "csv": "complexes.csv", "orca": {"command": "standin"}}


@pytest.mark.parametrize("block", YAML, ids=lambda block: block.where)
def test_settings_are_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = yaml.safe_load(block.text)
    assert isinstance(told, dict)
    if set(told) == {"ops"}:
        check_run_config(told, tmp_path)
    elif set(told) <= set(type(read(BASE, tmp_path)).model_fields):
        merged: dict[str, Any] = {
            **BASE,
            **{
                key: {**BASE.get(key, {}), **value} if isinstance(value, dict) else value
                for key, value in told.items()
            },
        }
        campaign = read(merged, tmp_path)
        assert campaign.model_dump() != read(BASE, tmp_path).model_dump()
    else:
        # A profile: each is used by a campaign.
        file = tmp_path / "profiles.yaml"
        file.write_text(block.text)
        monkeypatch.setenv(PROFILES_VARIABLE, str(file))
        for name, settings in told.items():
            campaign = read({**BASE, "orca": {}, "launcher": {"profile": name}}, tmp_path)
            assert (
                campaign.launcher.kind == settings["kind"]
                and campaign.orca.command == settings["orca_command"]
            )


def read(values: Mapping[str, Any], folder: Path) -> Any:
    return read_campaign(yaml.safe_dump(dict(values)), folder / "campaign.yaml")


def check_run_config(config: Mapping[str, Any], folder: Path) -> None:
    """What the launchpad of `run_structures` is given."""
    from dagster import validate_run_config

    from oact_dagster.defs.jobs import run_structures_job

    (folder / "campaign.yaml").write_text(yaml.safe_dump(BASE))
    validate_run_config(run_structures_job(load_campaign(folder)), dict(config))


def rows_of(model: type[BaseModel]) -> list[str]:
    """The rows of docs/settings.md for a section, from its fields."""
    return [
        f"| `{name}` | {'' if field.is_required() else f'`{yaml_value(field.get_default(call_default_factory=True))}`'}"
        f" | {setting_text(field)} |"
        for name, field in model.model_fields.items()
        if section_of(field) is None
    ]


def test_the_page_of_settings_says_what_their_fields_say() -> None:
    """A heading for each section, with one or more tables below it; put the expected rows into the page."""
    rows: dict[str, list[str]] = {}
    section = ""
    for line in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`")
        elif line.startswith("| `"):
            rows.setdefault(section, []).append(line)
    sections = {name: section_of(field) for name, field in Campaign.model_fields.items()}
    expected = {name: rows_of(model) for name, model in sections.items() if model is not None}
    expected["The campaign"] = rows_of(Campaign)
    missing = [row for name, wanted in expected.items() for row in wanted if row not in rows.get(name, [])]
    assert not missing, "\n".join(["docs/settings.md lacks these rows:", *missing])
    assert rows == expected


@pytest.mark.parametrize(
    "model", [Campaign, *(one for f in Campaign.model_fields.values() if (one := section_of(f)) is not None)]
)
def test_the_words_of_a_setting_name_all_its_values(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        if section_of(field) is not None:
            continue
        assert field.description, name
        for value in literals_in(field.annotation):
            assert re.search(rf"\b{value}\b", field.description), f"{name}: {value}"


def literals_in(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
        return
    for inner in get_args(annotation):
        yield from literals_in(inner)


# --- tables and links -------------------------------------------------------------------------------------------


def test_the_page_of_quality_has_each_rule() -> None:
    rows = {}
    for line in (ROOT / "docs" / "quality.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and cells[2] in ("error", "warning"):
            rows[cells[1].strip("`")] = cells[2:5]
    limits = QualityLimits()
    expected = {
        rule.name: [str(rule.severity), rule.described(limits), f"`{rule.setting}`" if rule.setting else ""]
        for rule in QUALITY_RULES
    }
    expected |= {name: ["warning", told, ""] for name, told in CAMPAIGN_RULES.items()}
    assert {
        name: [cells[0], cells[1].replace(" (50 eV/Å)", ""), cells[2]] for name, cells in rows.items()
    } == expected


def test_the_page_of_slurm_has_each_reason_to_wait() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|$", (ROOT / "docs" / "slurm.md").read_text(), re.MULTILINE)
    assert len(rows) >= 10
    for reason, told in rows:
        assert (why_pending(reason) or "").replace("`", "") == told.replace("`", ""), reason


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors_of(target), f"{page.name}: {link}"


def test_each_page_is_in_the_readme() -> None:
    told = {link.partition("#")[0] for link in links_of(ROOT / "README.md")}
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= told
