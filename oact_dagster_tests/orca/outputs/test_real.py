"""Real outputs of ORCA 3.0 to 6.1 against values that were checked by hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.orca.outputs.reader import read_engrad, read_evaluations, read_output, read_termination
from oact_dagster.orca.outputs.scan import OutputScan

FIELDS = [
    "termination",
    "orca_version",
    "terminated_normally",
    "final_energy",
    "final_energy_flag",
    "energies",
    "scf_cycles_total",
    "scf_cycles_per_scf",
    "n_cores",
    "wall_time_s",
    "n_gradients",
    "max_abs_gradient_component",
    "max_atom_force_norm",
    "opt_cycles",
    "opt_converged",
    "charge",
    "mult",
    "s2",
]


@pytest.fixture(scope="module")
def truth(orca_outputs: Path) -> list[dict[str, Any]]:
    return json.loads((orca_outputs / "truth.json").read_text())


def test_every_output_reads_as_it_was_checked(orca_outputs: Path, truth: list[dict[str, Any]]) -> None:
    wrong = []
    entries = [entry for entry in truth if entry["kind"] == "output"]
    for entry in entries:
        output = read_output(orca_outputs / entry["file"])
        for field in FIELDS:
            read = getattr(output, field)
            read = list(read) if isinstance(read, tuple) else read
            # The checked norms carry more digits than the nine that ORCA prints of each component.
            if read != entry[field] and not (
                isinstance(read, float) and read == pytest.approx(entry[field], rel=1e-14, abs=5e-10)
            ):
                wrong.append((entry["file"], field, read, entry[field]))
        not_converged = list(output.scf_cycles_not_converged)
        if not_converged != entry["scf_not_converged_cycles"]:
            wrong.append(
                (entry["file"], "scf_cycles_not_converged", not_converged, entry["scf_not_converged_cycles"])
            )
    assert wrong == []
    assert len(entries) >= 29


def test_every_engrad_reads_as_it_was_checked(orca_outputs: Path, truth: list[dict[str, Any]]) -> None:
    for entry in [entry for entry in truth if entry["kind"] == "engrad"]:
        engrad = read_engrad(orca_outputs / entry["file"])
        assert engrad.n_atoms == entry["n_atoms"]
        assert engrad.final_energy == entry["final_energy"]
        assert engrad.atomic_numbers == tuple(entry["atomic_numbers"])
        assert engrad.max_abs_gradient_component == entry["max_abs_gradient_component"]
        assert engrad.max_atom_force_norm == pytest.approx(entry["max_atom_force_norm"], rel=1e-14)


def test_both_ends_alone_tell_the_same_termination(orca_outputs: Path, truth: list[dict[str, Any]]) -> None:
    for entry in truth:
        file = orca_outputs / entry["file"]
        output = read_output(file)
        assert read_termination(file) == (output.termination, output.deciding_line, output.reason)


def test_the_energy_of_training_data_is_the_last_gradients(orca_outputs: Path) -> None:
    output = read_output(orca_outputs / "oact__UO2_opt_logs.out")
    assert output.gradient_energy == -626.605299205695
    assert output.final_energy == -626.605298577892
    assert output.symbols == ("U", "O", "O")
    steps = read_evaluations(orca_outputs / "oact__UO2_opt_logs.out")
    assert [step.energy for step in steps] == list(output.energies[:7])
    assert steps[-1] == output.evaluation
    assert len({step.coordinates for step in steps}) == 7


def test_three_jobs_of_one_run_give_every_step(orca_outputs: Path) -> None:
    steps = read_evaluations(orca_outputs / "cclib-data__ORCA4.1__orca_from_issue_736.out")
    assert len(steps) == 20
    assert all(step.energy is not None and step.symbols is not None for step in steps)


def test_a_folder_with_the_gzipped_output_and_the_engrad(orca_outputs: Path, tmp_path: Path) -> None:
    whole = (orca_outputs / "oact__NpF3_quacc_orca.out.gz").read_bytes()
    (tmp_path / "orca.out.gz").write_bytes(whole)
    (tmp_path / "orca.engrad.gz").write_bytes((orca_outputs / "oact__NpF3_quacc_orca.engrad.gz").read_bytes())
    (tmp_path / "AmO_orca_atom95.out").write_bytes((orca_outputs / "oact__AmO_orca_atom95.out").read_bytes())
    output = read_output(tmp_path)
    assert output.file == tmp_path / "orca.out.gz"
    assert output.final_energy == -814.120925544656
    assert read_engrad(tmp_path).final_energy == -814.120925544656


@pytest.mark.parametrize("size", [70_000, 1_000_003, 3_000_000])
def test_blocks_of_any_size_read_like_the_whole(orca_outputs: Path, size: int) -> None:
    data = (orca_outputs / "oact__UO2_opt_logs.out").read_bytes()
    first, second = (
        data.index(f"*                GEOMETRY OPTIMIZATION CYCLE{n:4d}".encode()) for n in (3, 6)
    )
    data = data[:first] + data[first:second] * 60 + data[second:]
    whole, pieces = OutputScan(), OutputScan()
    whole.finish(data)
    starts = range(0, len(data), size)
    for start in starts[:-1]:
        pieces.feed(data[start : start + size])
    pieces.finish(data[starts[-1] :])
    assert whole.opt_cycles == 3 * 60 + 4
    for name in vars(whole):
        if not name.startswith("_"):
            assert getattr(pieces, name) == getattr(whole, name), name


def test_cclib_reads_the_same_gradients_and_geometries(orca_outputs: Path) -> None:
    io = pytest.importorskip("cclib.io")
    for name in (
        "cclib-data__ORCA4.0__CO2_freqs.out",
        "cclib__basicORCA5.0__dvb_gopt.out",
        "opi__geometry.out",
        "oact__UO2_opt_logs.out",
        "arc__orca_example_opt.log",
    ):
        theirs = io.ccread(str(orca_outputs / name), loglevel=50)
        ours = read_evaluations(orca_outputs / name)
        assert len(ours) == len(theirs.grads)
        for step, gradient, geometry in zip(ours, theirs.grads, theirs.atomcoords, strict=False):
            assert step.gradient == pytest.approx(gradient, abs=1e-9), name
            assert step.coordinates == pytest.approx(geometry, abs=1e-6), name


def test_the_way_through_head_and_end_finds_what_the_whole_file_says(orca_outputs: Path) -> None:
    for file in sorted(orca_outputs.iterdir()):
        if file.suffix in (".md", ".json") or "engrad" in file.name:
            continue
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        quick, thorough = OutputScan(), OutputScan(every_evaluation=True)
        quick.finish(data)
        thorough.finish(data)
        for name in vars(quick):
            if not name.startswith("_") and name not in (
                "evaluations",
                "since_last_result",
                "since_last_cycle",
            ):
                assert getattr(quick, name) == getattr(thorough, name), (file.name, name)
