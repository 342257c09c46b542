"""Extended XYZ: texts of all kinds are read again as they were, by ASE and by our own reader."""

from pathlib import Path

import pytest

from oact_dagster.export.extxyz import ExtxyzWriter, annotation, frame_text, text
from oact_dagster.export.frame import Frame, Value
from oact_dagster.orca.outputs.sella import read_trajectory


def frame(annotations: dict[str, str] | None = None, **fields: Value) -> Frame:
    return Frame(
        symbols=("U", "O"),
        positions=((0.0, -0.125, 1e-7), (1.7, 0.1 + 0.2, -1.0)),
        energy=-17046.3204,
        forces=((0.1, 0.0, -1 / 3), (-0.1, 0.0, 1 / 3)),
        fields={"campaign": "a", **fields},
        annotations=annotations or {},
    )


def written(folder: Path, *frames: Frame) -> Path:
    with ExtxyzWriter(folder / "a.extxyz") as writer:
        for one in frames:
            writer.write(one)
    return folder / "a.extxyz"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("plain", "plain"),
        ("wB97M-V", "wB97M-V"),
        ("two words", '"two words"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a=b", '"a=b"'),
        ("it's", '"it\'s"'),
        ("[1, 2]", '"[1, 2]"'),
        ("two\nlines\r\n\tand a tab", '"two lines and a tab"'),
        ("", '""'),
        ("Å", '"Å"'),
        ("123", '"_JSON \\"123\\""'),
        ("12e5", '"_JSON \\"12e5\\""'),
        ("T", '"_JSON \\"T\\""'),
        ("1 2 3", '"_JSON \\"1 2 3\\""'),
        ("nan", '"_JSON \\"nan\\""'),
        ("2d3e73a14e6638c8", '"2d3e73a14e6638c8"'),
    ],
)
def test_texts(given: str, value: str) -> None:
    assert text(given) == value


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("3", "3"),
        ("-2", "-2"),
        ("0.25", "0.25"),
        ("007", '"_JSON \\"007\\""'),
        ("1_0", '"_JSON \\"1_0\\""'),
        ("UO2 2+", '"UO2 2+"'),
    ],
)
def test_annotations_that_are_numbers_are_numbers(given: str, value: str) -> None:
    assert annotation(given) == value


def test_a_frame_is_two_lines_and_one_for_each_atom() -> None:
    lines = frame_text(frame(remedy=None, step=0)).split("\n")
    assert lines[0] == "2" and lines[-1] == "" and len(lines) == 5
    assert lines[1].startswith(
        'Properties=species:S:1:pos:R:3:forces:R:3 energy=-17046.3204 pbc="F F F" campaign=a step=0 units='
    )
    assert lines[2] == "U  0.0 -0.125 1e-07 0.1 0.0 -0.3333333333333333"


def test_ase_reads_what_was_written(tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    said = {
        "csv_a": 'a "quoted" word, a = sign, a back\\slash, [brackets] and {braces}',
        "csv_b": "12345678e0123456",
        "csv_c": "T",
        "csv_d": "Å and 中文",
        "csv_e": "-3",
        "csv_f": "it's",
        "csv_g": "  ",
    }
    one = frame(said, input_hash="1234567890123456", charge=-2, engine="stand-in (NOT ORCA)")
    first, second = ase_io.read(written(tmp_path, one, frame(host="node=7")), index=":")
    assert first.get_potential_energy() == one.energy
    assert first.get_forces().tolist() == [list(row) for row in one.forces]
    assert first.positions.tolist() == [list(row) for row in one.positions]
    assert {key: first.info.get(key) for key in said} == {**said, "csv_e": -3, "csv_g": None}
    assert (first.info["input_hash"], first.info["charge"]) == ("1234567890123456", -2)
    assert first.info["engine"] == "stand-in (NOT ORCA)" and second.info["host"] == "node=7"
    assert len(second) == 2


def test_our_own_reader_reads_it(tmp_path: Path) -> None:
    one, two = read_trajectory(written(tmp_path, frame(), frame({"csv_energy": "5"})))
    assert one == two
    assert one.energy_ev == -17046.3204 and one.symbols == ("U", "O")
    assert one.forces_ev_per_angstrom == frame().forces


def test_a_file_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    written(tmp_path, frame())
    with pytest.raises(FileExistsError):
        written(tmp_path, frame())
