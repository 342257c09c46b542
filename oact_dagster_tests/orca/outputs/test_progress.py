"""What a running calculation's output says of its progress: real outputs, written piece by piece."""

from pathlib import Path

import pytest

from oact_dagster.orca.outputs.progress import MOST_READ, Progress, ProgressReader
from oact_dagster.orca.outputs.reader import read_output


def grow(target: Path, data: bytes, piece: int) -> list[Progress]:
    """What is seen while an output grows."""
    reader = ProgressReader(target)
    assert reader.look() is None, "it does not exist yet"
    seen = []
    with target.open("wb") as stream:
        for start in range(0, len(data), piece):
            stream.write(data[start : start + piece])
            stream.flush()
            progress = reader.look()
            if progress is not None:
                seen.append(progress)
    assert reader.look() is None, "nothing is told twice"
    return seen


@pytest.mark.parametrize("piece", [997, 40_000])
@pytest.mark.parametrize(
    "name",
    ["oact__UO2_opt_logs.out", "cclib__basicORCA6.0__dvb_gopt.out", "cclib__basicORCA5.0__dvb_gopt.out"],
)
def test_an_optimisation_is_followed_to_its_last_energy(
    tmp_path: Path, orca_outputs: Path, name: str, piece: int
) -> None:
    seen = grow(tmp_path / "orca.out", (orca_outputs / name).read_bytes(), piece)
    cycles = [one.opt_cycle for one in seen if one.opt_cycle is not None]
    assert cycles == sorted(cycles) and cycles[0] == 1
    output = read_output(orca_outputs / name)
    assert cycles[-1] == output.opt_cycles
    assert seen[-1].energy == pytest.approx(output.final_energy, abs=1e-9)


def test_the_cycles_of_an_scf_are_seen_while_it_runs(tmp_path: Path, orca_outputs: Path) -> None:
    seen = grow(tmp_path / "orca.out", (orca_outputs / "oact__AmO_orca_atom95.out").read_bytes(), 300)
    cycles = [one.scf_cycle for one in seen if one.scf_cycle is not None]
    assert len(cycles) > 20 and cycles[0] < 5
    assert "SCF cycle 3, E = -534.749658 Eh" in map(str, seen)
    assert str(seen[-1]) == "SCF cycle 62, E = -593.311813 Eh"


def test_of_an_output_that_gained_much_the_end_is_read(tmp_path: Path) -> None:
    file = tmp_path / "orca.out"
    file.write_bytes(
        b"  * GEOMETRY OPTIMIZATION CYCLE   1  *\n"
        + b"x" * 79 * (2 * MOST_READ // 79)
        + b"\n  * GEOMETRY OPTIMIZATION CYCLE   7  *\nFINAL SINGLE POINT ENERGY  -1.5\n  * GEOMETRY OPTIM"
    )
    assert ProgressReader(file).look() == Progress(7, None, -1.5)


def test_rows_outside_an_scf_are_no_energies(tmp_path: Path) -> None:
    file = tmp_path / "orca.out"
    file.write_text("NORMAL MODES\n      0      -0.716023   0.1\n      1      -2.000000   0.1\n")
    assert ProgressReader(file).look() is None
