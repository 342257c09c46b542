"""The estimate of disk space and files: its model against a real output, and its line through finished folders."""

import gzip
from pathlib import Path

import pytest

from oact_dagster.attempts.disk_estimate import (
    COMPANION_BYTES,
    MATRIX_BYTES,
    MeasuredFolder,
    Model,
    Size,
    Sizes,
    documented_model,
    files_left,
    measure,
    measured_model,
    room_at,
)
from oact_dagster.errors import InputRefused
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.orca import OrcaSettings


def campaign(**orca: object) -> Campaign:
    settings = OrcaSettings(**({"command": "/opt/orca/orca"} | orca))  # type: ignore[arg-type]
    return Campaign(name="test", csv=Path("a.csv"), orca=settings)


def test_sizes() -> None:
    sizes = Sizes(campaign())
    # ORCA 6.1 prints 183 basis functions for UO2 and 223 for NpF3, and runs the actinide's atom first in both.
    assert sizes.of(["U", "O", "O"], 1) == Size(183, 1, 3, atomic_guesses=1)
    assert sizes.of(["Np", "F", "F", "F"], 5) == Size(223, 2, 4, atomic_guesses=1)
    assert sizes.of(["O", "H", "H"], 1).atomic_guesses == 0
    assert sizes.of(["U", "I", "I"], 1).atomic_guesses == 2
    assert Sizes(campaign(uks_singlet=True)).of(["O", "H", "H"], 1).spins == 2
    assert Sizes(campaign(command="standin")).of(["U", "O", "O"], 1).atomic_guesses == 0
    with pytest.raises(InputRefused):
        Sizes(campaign(simple_input="x2c")).of(["U"], 1)


def test_the_model_by_hand() -> None:
    model = documented_model(campaign())
    # 75,000 + 25,000 + 300 * 3 + (16 + 18) * 100^2 + 45 * 100, and the output of one atom.
    assert model.bytes_of(Size(100, 1, 3)) == 75_000 + 25_000 + 900 + 340_000 + 4_500
    assert model.bytes_of(Size(100, 2, 3, 1)) == 75_000 + 25_000 + 900 + 680_000 + 9_000 + 115_000
    assert model.files_of(Size(100, 1, 3)) == 13 + 1
    assert model.files_of(Size(100, 2, 3, 1)) == 13 + 1 + 1
    assert "a model" in model.origin

    optimised = documented_model(campaign(opt=True))
    assert optimised.bytes_of(Size(100, 1, 3)) == 75_000 + 25_000 + 900 + 160_000 + 2 * 184_500 + 50 * 30_000
    assert optimised.files_of(Size(100, 1, 3)) == 16 + 1
    assert "50 cycles" in optimised.origin

    standin = documented_model(campaign(command="standin"))
    assert standin.bytes_of(Size(1000, 2, 20)) == 10_000 + 425 * 20
    assert standin.files_of(Size(1000, 2, 20)) == 9 + 1


def test_the_files_of_a_single_point() -> None:
    records = {"orca.inp", "attempt.json", "exit.json", "messages.jsonl", "payload.log"}
    of_orca = {"orca.out", "orca.err", "orca.gbw", "orca.densities", "orca.densitiesinfo", "orca.engrad"}
    texts = {"orca.property.txt", "orca.bibtex"}
    assert set(files_left(optimise=False, standin=False)) == records | of_orca | texts
    added = set(files_left(optimise=True, standin=False)) - set(files_left(optimise=False, standin=False))
    assert added == {"orca.xyz", "orca_trj.xyz", "orca.opt"}


def test_the_model_gives_the_size_of_a_real_output(orca_outputs: Path) -> None:
    with gzip.open(orca_outputs / "oact__NpF3_quacc_orca.out.gz") as stream:
        real = len(stream.read())
    size = Size(223, 2, 4)
    output = documented_model(campaign()).bytes_of(size) - MATRIX_BYTES * size.elements - COMPANION_BYTES
    assert output == pytest.approx(real, rel=0.01)


def test_a_line_through_finished_folders() -> None:
    def model(*points: tuple[int, int]) -> Model:
        return measured_model(campaign(), [MeasuredFolder(x, y, 10) for x, y in points])

    # 1,000 bytes and 34 for each element of the matrices.
    two = model((100, 4_400), (400, 14_600))
    assert two.bytes_of(Size(30, 1, 9)) == pytest.approx(1_000 + 34 * 900)
    assert two.bytes_of(Size(30, 2, 9)) == pytest.approx(1_000 + 34 * 1_800)
    assert two.files_of(Size(30, 1, 9)) == 11
    assert two.origin == "2 finished job folders of this campaign"
    # All of one size: in proportion.
    assert model((100, 3_000), (100, 5_000)).bytes_of(Size(20, 1, 9)) == pytest.approx(4_000 * 4)
    assert model((100, 3_000)).origin == "1 finished job folder of this campaign"
    # Larger ones that are smaller on disk: the mean. A line from below zero: in proportion.
    assert model((100, 5_000), (400, 3_000)).bytes_of(Size(50, 1, 9)) == pytest.approx(4_000)
    assert model((100, 1_000), (300, 5_000)).bytes_of(Size(20, 1, 9)) == pytest.approx(6_000)
    assert model().origin == documented_model(campaign()).origin


def test_a_folder_is_measured(tmp_path: Path) -> None:
    (tmp_path / "orca.out").write_bytes(b"x" * 1_000)
    (tmp_path / "orca.gbw").write_bytes(b"x" * 234)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_bytes(b"x" * 6)
    assert measure(tmp_path, 49) == MeasuredFolder(49, 1_240, 3)
    assert measure(tmp_path / "gone", 49) is None
    (tmp_path / "empty").mkdir()
    assert measure(tmp_path / "empty", 49) is None


def test_room_where_a_folder_would_be_made(tmp_path: Path) -> None:
    here, there = room_at(tmp_path), room_at(tmp_path / "not" / "yet")
    assert here is not None and there is not None
    assert here.bytes > 0 and (here.inodes is None) == (there.inodes is None)
    assert not (tmp_path / "not").exists()
