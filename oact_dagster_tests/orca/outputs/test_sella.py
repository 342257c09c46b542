"""Sella's logs and trajectories: eV and eV/Å by step, and their way into ORCA's units."""

import gzip
import json
import struct
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oact_dagster.orca.outputs.evaluations import largest_component
from oact_dagster.orca.outputs.sella import read_sella, read_sella_log, read_trajectory

Vectors = list[tuple[float, float, float]]

NUMBERS = [92, 8, 8]
POSITIONS: Vectors = [(0.0, 0.0, 0.0), (0.0, 0.0, 1.7), (0.0, 0.0, -1.7)]
LOG = """     Step     Time          Energy         fmax         cmax       rtrust          rho
Sella   0 15:34:54   -17046.320443       0.5345       0.0000       0.1000       1.0000
Sella   1 15:36:01   -17046.520443       0.2100       0.0000       0.1000       0.9800
Sella   2 15:37:11   -17046.620443       0.0400       0.0000       0.1150       1.0100
"""


def forces(size: float) -> Vectors:
    """Forces whose largest norm is ``size`` (eV/Å)."""
    return [(0.0, 0.0, 0.0), (0.6 * size, 0.8 * size, 0.0), (-0.6 * size, -0.8 * size, 0.0)]


def ase_trajectory(frames: list[tuple[float, Vectors]]) -> bytes:
    """Write ASE's ``.traj``: a header, then for each frame its arrays and its item, then the table of items."""
    data = bytearray(struct.pack("<8s16sqqq", b"- of Ulm", b"ASE-Trajectory", 3, len(frames), 0))
    items = []

    def put(kind: str, shape: list[int], values: list[float]) -> dict[str, object]:
        data.extend(b"\0" * (-len(data) % 8))
        position = len(data)
        data.extend(array({"float64": "d", "int64": "q"}[kind], values).tobytes())
        return {"ndarray": [shape, kind, position]}

    for index, (energy, rows) in enumerate(frames):
        item: dict[str, object] = {"version": 1, "ase_version": "3.29.0"} if index == 0 else {}
        if index == 0:
            item |= {"pbc": [False] * 3, "numbers.": put("int64", [3], NUMBERS)}
        item["positions."] = put("float64", [3, 3], [number for row in POSITIONS for number in row])
        flat = put("float64", [3, 3], [number for row in rows for number in row])
        item["calculator."] = {"name": "orca", "energy": energy, "forces.": flat}
        text = json.dumps(item).encode()
        items.append(len(data))
        data += struct.pack("<q", len(text)) + text
    struct.pack_into("<q", data, 40, len(data))
    return bytes(data + struct.pack(f"<{len(items)}q", *items))


def extended_xyz(frames: list[tuple[float, Vectors]]) -> bytes:
    parts = []
    for energy, rows in frames:
        parts.append(f'3\nProperties=species:S:1:pos:R:3:forces:R:3 energy={energy} pbc="F F F"\n')
        for symbol, position, force in zip(("U", "O", "O"), POSITIONS, rows, strict=True):
            parts.append(" ".join([symbol, *map(str, (*position, *force))]) + "\n")
    return "".join(parts).encode()


FRAMES = [(-17046.3, forces(0.5)), (-17046.5, forces(0.2)), (-17046.6, forces(0.03))]
FORMATS = {"run.traj": ase_trajectory(FRAMES), "run.xyz": extended_xyz(FRAMES)}


def test_a_log_by_step(tmp_path: Path) -> None:
    log = tmp_path / "sella.log"
    log.write_text(LOG)
    steps = read_sella_log(log)
    assert [(step.step, step.energy_ev, step.fmax_ev_per_angstrom) for step in steps] == [
        (0, -17046.320443, 0.5345),
        (1, -17046.520443, 0.21),
        (2, -17046.620443, 0.04),
    ]
    assert steps[0].energy_hartree == pytest.approx(-17046.320443 / 27.211386245988, rel=1e-14)
    assert steps[0].evaluation is None
    assert read_sella(log, fmax_ev_per_angstrom=0.05).converged is True
    run = read_sella(log, fmax_ev_per_angstrom=0.03)
    assert run.converged is False
    assert "0.0400 eV/Å, above 0.03" in run.reason


def test_the_log_of_a_restarted_run_and_of_ases_optimisers(tmp_path: Path) -> None:
    log = tmp_path / "opt.log.gz"
    log.write_bytes(
        gzip.compress((LOG + LOG.replace("Sella  ", "BFGS:  ").replace("0.0400", "0.0100")).encode())
    )
    steps = read_sella_log(log)
    assert [step.step for step in steps] == [0, 1, 2]
    assert steps[-1].fmax_ev_per_angstrom == 0.01


def test_a_line_that_is_cut_is_no_step(tmp_path: Path) -> None:
    log = tmp_path / "sella.log"
    for cut in range(len(LOG)):
        log.write_text(LOG[:cut])
        assert len(read_sella_log(log)) == max(0, LOG[:cut].count("\n") - 1)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_trajectory_by_step(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(FORMATS[name])
    run = read_sella(None, file, fmax_ev_per_angstrom=0.05)
    assert run.converged is True
    assert [step.energy_ev for step in run.steps] == [-17046.3, -17046.5, -17046.6]
    assert [step.fmax_ev_per_angstrom for step in run.steps] == pytest.approx([0.5, 0.2, 0.03])
    assert run.steps[2].forces_ev_per_angstrom == tuple(forces(0.03))
    assert run.steps[0].symbols == ("U", "O", "O")
    assert run.steps[0].coordinates_angstrom == tuple(POSITIONS)
    evaluation = run.steps[0].evaluation
    assert evaluation is not None
    # A gradient is minus a force; 51.422 eV/Å are 1 Eh/bohr.
    assert evaluation.gradient[1][1] == pytest.approx(-0.4 / 51.42206747)
    assert largest_component(evaluation.gradient) == pytest.approx(0.4 / 51.42206747)
    assert read_sella(None, file, fmax_ev_per_angstrom=0.029).converged is False


def test_the_trajectory_decides_where_the_log_lags_a_step_behind(tmp_path: Path) -> None:
    log, trajectory = tmp_path / "sella.log", tmp_path / "run.traj"
    log.write_text("\n".join(LOG.splitlines()[:3]) + "\n")
    trajectory.write_bytes(FORMATS["run.traj"])
    assert read_sella(log, fmax_ev_per_angstrom=0.05).converged is False
    assert read_sella(log, trajectory, fmax_ev_per_angstrom=0.05).converged is True


def test_nothing_to_read(tmp_path: Path) -> None:
    run = read_sella(tmp_path / "no.log", tmp_path / "no.traj", fmax_ev_per_angstrom=0.05)
    assert (run.steps, run.converged) == ((), None)
    assert read_sella(None, fmax_ev_per_angstrom=0.05).converged is None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMATS)), st.floats(0, 1), st.binary(max_size=12), st.booleans())
def test_a_damaged_trajectory_gives_the_frames_before_the_damage(
    tmp_path: Path, name: str, where: float, put: bytes, cut: bool
) -> None:
    text = FORMATS[name]
    place = int(where * len(text))
    file = tmp_path / name
    file.write_bytes(text[:place] if cut else text[:place] + put + text[place + len(put) :])
    frames = read_trajectory(file)
    assert len(frames) <= 3
    if cut and name == "run.xyz":
        whole = [frame for frame, energy in zip(frames, FRAMES, strict=False) if frame.energy_ev == energy[0]]
        assert len(whole) == len(frames)
    run = read_sella(file, file, fmax_ev_per_angstrom=0.05)
    assert run.reason
