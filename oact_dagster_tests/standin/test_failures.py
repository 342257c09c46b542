"""Runs that end in an error: ORCA's words in the output, and an exit code that is not zero."""

import subprocess
from pathlib import Path

import pytest

from oact_dagster_tests.standin.running import URANYL, WATER, command, environment, job_input, run

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


def test_an_scf_that_does_not_converge(tmp_path: Path) -> None:
    done = run(tmp_path, job_input(URANYL, charge=2, more="# metal_ox: 6\n%scf\n  maxiter 5\nend"))
    assert done.exit_code not in (0, 1)
    assert done.errors == ""
    for words in (
        "SCF NOT CONVERGED AFTER   5 CYCLES",
        "This wavefunction IS NOT CONVERGED!",
        "ORCA finished by error termination in LEANSCF",
        ".... aborting the run",
    ):
        assert words in done.output
    assert done.energies == []
    assert not done.ended_normally
    assert "TOTAL RUN TIME" not in done.output
    assert not (tmp_path / "orca.engrad").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            job_input(WATER, multiplicity=2),
            "Error : multiplicity (2) is even and number of electrons (10) is even -> impossible",
        ),
        (job_input(WATER.replace("O ", "Oo ")), "unknown element 'Oo'"),
        ("! EnGrad\n", "no coordinates"),
        (job_input(URANYL, charge=2), "# metal_ox: 6"),
        (job_input(URANYL, charge=2, more="# metal_ox: "), "# metal_ox: 6"),
        (job_input("Fr 0 0 0", charge=1), "Fr: GFN2-xTB is not available for this element"),
        (b"\x00\xff\xfe", "no coordinates"),
    ],
)
def test_an_input_that_is_refused(tmp_path: Path, text: str | bytes, reason: str) -> None:
    done = run(tmp_path, text)
    assert done.exit_code not in (0, 1)
    assert done.errors == ""
    assert "INPUT ERROR" in done.output
    assert reason in done.output
    assert "****END OF INPUT****" in done.output
    assert not done.ended_normally
    assert done.energies == []


def test_an_unknown_keyword_is_not_judged(tmp_path: Path) -> None:
    assert run(tmp_path, job_input(WATER, "EnGrad NoSuchKeyword")).ended_normally


def test_atoms_on_top_of_each_other(tmp_path: Path) -> None:
    done = run(tmp_path, job_input("H 0 0 0\nH 0 0 0", "Opt"))
    assert done.exit_code not in (0, 1)
    assert done.errors == ""
    assert "ORCA finished by error termination" in done.output


def test_a_folder_in_which_a_result_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "orca.engrad").mkdir()
    done = run(tmp_path, job_input(WATER))
    assert done.exit_code not in (0, 1)
    assert "cannot write" in done.output
    assert "aborting the run" in done.output
    assert not done.ended_normally


def test_no_input_file(tmp_path: Path) -> None:
    done = subprocess.run(
        command("none.inp"), cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert done.returncode not in (0, 1)
    assert b"cannot read the input file none.inp" in done.stdout


def test_without_tblite_one_line_says_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "tblite.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tblite'\", name='tblite')\n"
    )
    path = f"{hidden}:{environment()['PYTHONPATH']}"
    done = run(tmp_path, job_input(WATER), PYTHONPATH=path)
    assert done.exit_code == 1
    assert done.output == ""
    assert done.errors.splitlines() == [
        "the stand-in engine needs tblite (No module named 'tblite'): pip install 'oact-dagster[demo]'"
    ]
