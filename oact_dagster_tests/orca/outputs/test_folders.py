"""Which file of a job folder is read."""

import gzip
import os
from pathlib import Path

import pytest

from oact_dagster.orca.outputs.reader import read_engrad, read_output, read_termination
from oact_dagster_tests.orca.outputs import made_outputs as made

ENGRAD = """#
# Number of atoms
#
 3
#
# The current total energy in Eh
#
    {energy:.12f}
#
# The current gradient in Eh/bohr
#
       0.000000000000
       0.000000000000
       0.000100000000
       0.006000000000
       0.008000000000
       0.000000000000
      -0.006000000000
      -0.008000000000
      -0.000100000000
#
# The atomic numbers and current coordinates in Bohr
#
  92     0.0000000    0.0000000    0.0000000
   8     0.0000000    0.0000000    3.2125344
   8     0.0000000    0.0000000   -3.2125344
"""


def write(folder: Path, name: str, text: str, *, age: int) -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    os.utime(file, (1_700_000_000 - age, 1_700_000_000 - age))
    return file


@pytest.mark.parametrize("name", ["orca.out", "orca.log", "logs", "orca.out.gz", "logs.gz", "whatever.OUT"])
def test_the_name_of_an_output(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, name, made.single_point(), age=0)
    assert read_output(tmp_path).file == file
    assert read_output(tmp_path) == read_output(file)


def test_neither_sub_runs_nor_the_schedulers_files_however_new(tmp_path: Path) -> None:
    write(tmp_path, "orca.inp", "! HF\n", age=9)
    own = write(tmp_path, "orca.out", made.single_point(energy=-626.5), age=5)
    for name in (
        "orca_atom0.out",
        "AmO_orca_atom95.out",
        "atom95.out",
        "orca_D001.out",
        "orca.goat.0.out",
        "slurm-12_3.out",
        "flux-ƒabc.out",
        "slurm-12.out",
        "payload.log",
        "sella.log",
    ):
        write(tmp_path, name, made.single_point(energy=-1.0), age=0)
    for name in ("attempt.json", "exit.json", "messages.jsonl", "orca.gbw"):
        write(tmp_path, name, "{}", age=0)
    assert read_output(tmp_path).file == own
    assert read_output(tmp_path).final_energy == -626.5


def test_only_sub_runs_are_no_output(tmp_path: Path) -> None:
    write(tmp_path, "orca_atom92.out", made.single_point(), age=0)
    write(tmp_path, "slurm-1.out", made.single_point(), age=0)
    output = read_output(tmp_path)
    assert (output.termination, output.file) == ("truncated", None)
    assert "no ORCA output" in output.reason


def test_the_newest_first(tmp_path: Path) -> None:
    write(tmp_path, "a.out", made.single_point(energy=-626.1), age=5)
    write(tmp_path, "b.out.gz", made.single_point(energy=-626.2), age=3)
    write(tmp_path, "c.out", made.single_point(energy=-626.3), age=4)
    assert read_output(tmp_path).final_energy == -626.2


def test_a_newer_file_that_is_not_orcas_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "orca.out", made.single_point(), age=5)
    write(tmp_path, "copy.log", "rsync: done\n", age=0)
    write(tmp_path, "empty.out", "", age=0)
    assert read_output(tmp_path).file == tmp_path / "orca.out"


def test_files_of_the_same_time_go_by_the_inputs_name(tmp_path: Path) -> None:
    for name in ("aaa.out", "job.out", "zzz.out"):
        write(tmp_path, name, made.single_point(), age=0)
    write(tmp_path, "job.inp", "! HF\n", age=0)
    assert read_output(tmp_path).file == tmp_path / "job.out"


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    write(tmp_path, "orca.out", "", age=0)
    output = read_output(tmp_path)
    assert (output.termination, output.file) == ("truncated", tmp_path / "orca.out")
    assert "empty" in output.reason


@pytest.mark.parametrize("name", ["orca.engrad", "orca.engrad.gz"])
def test_the_engrad_where_the_output_has_no_gradient(tmp_path: Path, name: str) -> None:
    write(tmp_path, "orca.out", made.single_point(with_gradient=False), age=0)
    write(tmp_path, "orca_atom8.engrad", ENGRAD.format(energy=-626.6).replace("0.008", "0.9"), age=0)
    write(tmp_path, name, ENGRAD.format(energy=-626.6), age=1)
    output = read_output(tmp_path)
    assert output.max_abs_gradient_component == 0.008
    assert output.max_atom_force_norm == pytest.approx(0.01, rel=1e-4)
    assert output.gradient_energy == -626.6
    assert output.symbols == ("U", "O", "O")
    assert output.coordinates is not None
    assert output.coordinates[1][2] == pytest.approx(1.7, abs=1e-6)
    assert output.n_gradients == 0
    assert read_output(tmp_path / "orca.out").gradient is None


def test_the_outputs_own_gradient_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "orca.out", made.single_point(), age=1)
    write(tmp_path, "orca.engrad", ENGRAD.format(energy=-626.6), age=0)
    assert read_output(tmp_path).max_abs_gradient_component == 0.004


def test_an_engrad_of_another_run_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, "orca.out", made.single_point(with_gradient=False), age=0)
    write(tmp_path, "orca.engrad", ENGRAD.format(energy=-626.1), age=1)
    assert read_output(tmp_path).max_abs_gradient_component is None


def test_an_engrad_part_by_part(tmp_path: Path) -> None:
    text = ENGRAD.format(energy=-626.6)
    file = tmp_path / "orca.engrad"
    file.write_text(text)
    whole = read_engrad(file)
    assert whole.n_atoms == 3
    assert whole.final_energy == -626.6
    assert whole.gradient is not None
    assert len(whole.gradient) == 3
    assert whole.atomic_numbers == (92, 8, 8)
    assert whole.max_abs_gradient_component == 0.008
    for cut in range(len(text)):
        file.write_text(text[:cut])
        part = read_engrad(file)
        assert part.n_atoms in (None, 3)
        assert part.final_energy in (None, -626.6)
        assert part.gradient in (None, whole.gradient)
        assert part.coordinates_bohr in (None, whole.coordinates_bohr)
    assert read_engrad(tmp_path / "nothing.engrad").n_atoms is None


PROPERTIES = {
    "orca.property.txt": '$Calculation_Info\n   &Mult [&Type "Integer"] 3\n   &Charge [&Type "Integer"] -1\n$End\n'
    '$Single_Point_Data\n   &FinalEnergy [&Type "Double"]      -6.2650000000000000e+02  "Final single point energy"\n'
    "$End\n",
    "orca_property.txt": "$ Calculation_Info\n   geom. index: 1\n        Multiplicity:                 3\n"
    "        Charge:                      -1\n",
}


@pytest.mark.parametrize("name", list(PROPERTIES))
def test_the_property_file_fills_what_the_output_leaves_out(tmp_path: Path, name: str) -> None:
    text = (
        made.single_point().replace(made.settings(), "").replace("FINAL SINGLE POINT ENERGY", "not printed")
    )
    write(tmp_path, "orca.out", text, age=0)
    assert read_output(tmp_path).charge is None
    write(tmp_path, name, PROPERTIES[name], age=0)
    output = read_output(tmp_path)
    assert (output.charge, output.mult) == (-1, 3)
    assert output.final_energy == (-626.5 if name == "orca.property.txt" else None)
    write(tmp_path, "orca.out", made.single_point(), age=0)
    output = read_output(tmp_path)
    assert (output.charge, output.mult, output.final_energy) == (2, 1, -626.6)


@pytest.mark.parametrize(
    ("name", "message", "termination", "reason"),
    [
        (
            "slurm-7.out",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.",
            "out_of_memory",
            "memory",
        ),
        (
            "slurm-7.out",
            "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT x DUE TO TIME LIMIT ***",
            "truncated",
            "time",
        ),
        (
            "flux-f1.out",
            "job.exception type=timeout severity=0 resource allocation expired",
            "truncated",
            "time limit",
        ),
        (
            "slurm-7.out",
            "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT x DUE TO PREEMPTION ***",
            "truncated",
            "ended",
        ),
        ("slurm-7.out", "cp: error writing 'x': No space left on device", "disk_full", "disk"),
        (
            "orca.err",
            "mpirun noticed that process rank 1 exited on signal 11 (Segmentation fault).",
            "aborted",
            "signal",
        ),
        ("slurm-7.out", "modules loaded", "truncated", "no end"),
    ],
)
def test_the_schedulers_file_tells_why_there_is_no_end(
    tmp_path: Path, name: str, message: str, termination: str, reason: str
) -> None:
    write(tmp_path, "orca.out", made.single_point(end=""), age=10)
    write(tmp_path, name, message + "\n", age=0)
    output = read_output(tmp_path)
    assert output.termination == termination
    assert reason in output.reason
    assert read_termination(tmp_path) == (output.termination, output.deciding_line, output.reason)
    # The output's own end counts before whatever the scheduler says, and so does an older message not at all.
    write(tmp_path, "orca.out", made.single_point(), age=10)
    assert read_output(tmp_path).termination == "normal"


def test_an_old_message_of_the_scheduler_is_not_of_this_run(tmp_path: Path) -> None:
    write(tmp_path, "slurm-6.out", "slurmstepd: error: Detected 1 oom_kill event\n", age=7200)
    write(tmp_path, "orca.out", made.single_point(end=""), age=0)
    assert read_output(tmp_path).termination == "truncated"
