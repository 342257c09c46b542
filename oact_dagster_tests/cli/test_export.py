"""``oact export``: campaigns that the stand-in engine has really computed, and what the command says."""

import importlib.util
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact
from oact_dagster_tests.engines import ENERGY, TestEngine
from oact_dagster_tests.requirements import lacking

EV = 27.211386245988
BOHR = 0.529177210903
FORMATS = {"extxyz": "test.extxyz", "parquet": "test.parquet", "ase-db": "test.db"}


def computed(campaign: Campaign, structures: int) -> Campaign:
    with Ledger(campaign.ledger, create=True) as ledger:
        take_in(campaign, ledger)
        assert list(batch(campaign, ledger, list(range(structures))))
    return campaign


@pytest.fixture(scope="module")
def optimised(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Three waters, optimised by the stand-in engine."""
    if importlib.util.find_spec("tblite") is None:
        lacking("engine", "pip install 'oact-dagster[demo]'")
    settings = {"orca": {"command": "standin", "n_cores": 1, "opt": True}}
    folder = tmp_path_factory.mktemp("optimised") / "campaign"
    return computed(write_campaign(folder, 3, Path("standin"), settings=settings), 3)


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


@pytest.fixture
def campaign(tmp_path: Path, engine: TestEngine) -> Iterator[Campaign]:
    """Four waters by the test engine, which writes what ORCA writes; the last one failed."""
    engine.set("input_error", 3)
    yield computed(write_campaign(tmp_path / "campaign", 4, engine.path), 4)


@pytest.mark.engine
def test_every_frame_is_what_the_engine_computes_at_its_geometry(optimised: Campaign, tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    from tblite.interface import Calculator

    done = oact("export", optimised.file, "--all-steps", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    frames = ase_io.read(tmp_path / "test.extxyz", index=":")
    assert len(frames) > 6 and {atoms.info["orig_index"] for atoms in frames} == {0, 1, 2}
    assert f"3 structures, {len(frames)} frames written to {tmp_path / 'test.extxyz'} (" in done.stdout
    for atoms in frames:
        calculator = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / BOHR, charge=0.0, uhf=0)
        calculator.set("verbosity", 0)
        calculator.set("accuracy", 0.1)
        result = calculator.singlepoint()
        # The coordinates are printed with six decimals.
        assert atoms.get_potential_energy() == pytest.approx(float(result.get("energy")) * EV, abs=2e-5)
        assert np.allclose(atoms.get_forces(), -result.get("gradient") * EV / BOHR, rtol=0, atol=2e-4)
    steps = [(atoms.info["orig_index"], atoms.info["step"]) for atoms in frames]
    assert steps == sorted(steps)
    assert all(atoms.info["step"] < atoms.info["n_steps"] for atoms in frames)
    assert all(atoms.info["level_of_theory"].startswith('{"engine": "standin"') for atoms in frames)


@pytest.mark.engine
def test_the_stand_ins_numbers_say_so_everywhere(optimised: Campaign, tmp_path: Path) -> None:
    ase_io, ase_db = pytest.importorskip("ase.io"), pytest.importorskip("ase.db")
    for name, file in FORMATS.items():
        done = oact("export", optimised.folder, "--format", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0].startswith(
            "NOT ORCA: 3 of 3 structures come from the stand-in engine"
        )
        assert done.stdout.splitlines()[1].startswith(
            f"3 structures, 3 frames written to {tmp_path / file} ("
        )
    frames = ase_io.read(tmp_path / "test.extxyz", index=":")
    table = pd.read_parquet(tmp_path / "test.parquet")
    with ase_db.connect(tmp_path / "test.db") as database:
        rows = list(database.select())
        assert "NOT ORCA" in database.metadata["title"] and "NOT ORCA" in database.metadata["warning"]
    assert len(frames) == len(table) == len(rows) == 3
    for atoms, (_, line), row in zip(frames, table.iterrows(), rows, strict=True):
        for said in (atoms.info, line, row.key_value_pairs):
            assert "NOT ORCA" in said["engine"] and said["warning"].startswith("NOT ORCA")
        assert atoms.get_potential_energy() == line["energy"] == row.energy
        assert np.array_equal(atoms.get_forces(), np.stack(line["forces"]))
        assert np.array_equal(atoms.get_forces(), row.forces)
        assert atoms.info["csv_name"] == line["csv_name"] == row.csv_name
        # The last gradient's step, and not the final geometry, which has none.
        assert atoms.info["step"] == atoms.info["n_steps"] - 1 == line["step"] == row.step


def test_what_is_written_and_what_is_left_out(campaign: Campaign, tmp_path: Path) -> None:
    shutil.rmtree(campaign.jobs_dir / "job_1")
    ledger = campaign.ledger.read_bytes()
    done = oact("export", campaign.file, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"2 structures, 2 frames written to {tmp_path / 'test.extxyz'} (")
    assert rest == [
        "left out: 1 completed structure",
        "  1 x its folder is missing",
        f"      structure 1: {campaign.jobs_dir / 'job_1'}",
        "no result yet: 1 failed (structure 3)",
    ]
    text = (tmp_path / "test.extxyz").read_text()
    assert text.count("Properties=") == 2 and f"energy={ENERGY * EV!r} " in text
    assert 'csv_name="water 2"' in text and "NOT ORCA" not in text
    assert campaign.ledger.read_bytes() == ledger


def test_the_file_and_its_format(campaign: Campaign, tmp_path: Path) -> None:
    done = oact("export", campaign.folder, "-o", "a.parquet", "--structures", "0,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert list(table["orig_index"]) == [0, 2]
    assert table["energy"][1] == (ENERGY - 2 / 10_000) * EV
    again = oact("export", campaign.folder, "-o", "a.parquet", cwd=tmp_path)
    assert_one_line(again, "a.parquet: exists already; --force overwrites it, -o writes elsewhere")
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 2
    assert oact("export", campaign.folder, "-o", "a.parquet", "--force", cwd=tmp_path).returncode == 0
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 3
    assert oact("export", campaign.folder, "-o", "train.xyz", cwd=tmp_path).returncode == 0
    assert (tmp_path / "train.xyz").read_text().startswith("3\nProperties=")


def test_what_cannot_be_exported_is_one_line(campaign: Campaign, tmp_path: Path) -> None:
    where = {"cwd": tmp_path}
    assert_one_line(oact("export", "none", **where), "none: no such file")
    assert_one_line(oact("export", campaign.ledger, **where), "is a ledger; give the campaign.yaml")
    assert_one_line(oact("export", campaign.file, "--structures", "7", **where), "--structures: 1 structure")
    assert_one_line(
        oact("export", campaign.file, "--structures", "x", **where), "'x' is not a structure number"
    )
    assert_one_line(oact("export", campaign.file, "-o", "no/a.db", **where), "no: no such folder")
    (tmp_path / "new").mkdir()
    new = write_campaign(tmp_path / "new", 1, Path("orca"))
    assert_one_line(oact("export", new.file, **where), "no such ledger")
    assert not list(tmp_path.glob("test.*")) and not list(tmp_path.glob(".test.*"))


def test_nothing_to_export(campaign: Campaign, tmp_path: Path) -> None:
    done = oact("export", campaign.file, "--structures", "3", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "oact: test: nothing to export; no file was written\n")
    assert done.stdout == "no result yet: 1 failed (structure 3)\n"
    assert not list(tmp_path.glob("*.extxyz"))


def test_without_ase_one_line_says_what_to_install(campaign: Campaign, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'ase' else found(name, package)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [environment().get("PYTHONPATH")])])
    done = oact("export", campaign.file, "--format", "ase-db", cwd=tmp_path, PYTHONPATH=path)
    assert_one_line(done, "--format ase-db needs ASE: pip install 'oact-dagster[ase]'")
    assert not (tmp_path / "test.db").exists()


def _limited(n_bytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_cannot_be_written_whole_is_not_written(
    campaign: Campaign, tmp_path: Path, name: str
) -> None:
    if name == "ase-db":
        pytest.importorskip("ase")
    (tmp_path / "here").mkdir()
    target = tmp_path / "here" / FORMATS[name]
    target.write_bytes(b"older")
    done = subprocess.run(
        command("export", campaign.file, "--format", name, "--force"),
        cwd=target.parent,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=_limited(1000),
        check=False,
    )
    assert_one_line(done, f"{FORMATS[name]}: cannot be written: ")
    assert target.read_bytes() == b"older"
    assert [path.name for path in target.parent.iterdir()] == [FORMATS[name]]


def test_a_level_of_theory_that_is_not_the_results_is_refused(campaign: Campaign, tmp_path: Path) -> None:
    text = campaign.file.read_text()
    campaign.file.write_text(text.replace("orca:\n", "orca:\n  functional: PBE0\n"))
    done = oact("export", campaign.file, cwd=tmp_path)
    assert_one_line(done, "functional=wB97M-V", "functional=PBE0")
    assert not (tmp_path / "test.extxyz").exists()


def test_the_level_of_theory_is_in_each_format(campaign: Campaign, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    assert oact("export", campaign.file, "--format", "parquet", cwd=tmp_path).returncode == 0
    metadata = pq.read_schema(tmp_path / "test.parquet").metadata
    assert json.loads(metadata[b"level_of_theory"]) == campaign.level_of_theory()
    assert metadata[b"units"] == b"energy eV, positions Angstrom, forces eV/Angstrom"
    table = pd.read_parquet(tmp_path / "test.parquet")
    assert set(table["level_of_theory"]) == {json.dumps(campaign.level_of_theory())}
