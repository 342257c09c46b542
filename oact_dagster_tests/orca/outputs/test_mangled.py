"""Property-based: outputs cut and mangled in any way give an answer, and never a normal end that is not there."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oact_dagster.orca.outputs.reader import (
    Output,
    read_engrad,
    read_evaluations,
    read_output,
    read_termination,
    tail,
)
from oact_dagster.orca.outputs.scan import OutputScan
from oact_dagster.orca.outputs.terminations import Termination
from oact_dagster_tests.orca.outputs import made_outputs as made

MADE = {
    "single point": made.single_point(s2=2.0, kind="UHF").encode(),
    "large single point": made.single_point(bulk=300_000).encode(),
    "optimisation": made.optimisation().encode(),
    "not converged": made.optimisation(converged=False).encode(),
    "crlf": made.optimisation().replace("\n", "\r\n").encode(),
    "two runs": (made.single_point() + made.optimisation()).encode(),
    "failed": (made.banner() + made.echo("! HF") + made.scf(9, converged=False) + made.error_end()).encode(),
}
SETTINGS = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read_everything(file: Path) -> Output:
    """Read a file with every function there is; whatever it holds, each gives an answer."""
    output = read_output(file)
    assert isinstance(output.termination, Termination)
    assert output.reason
    assert read_termination(file) == (output.termination, output.deciding_line, output.reason)
    assert len(read_evaluations(file)) >= (output.evaluation is not None)
    assert len(tail(file, 5).splitlines()) <= 5
    read_engrad(file)
    return output


@SETTINGS
@given(data=st.data())
def test_an_output_cut_anywhere_is_never_normal(tmp_path: Path, data: st.DataObject) -> None:
    text = MADE[data.draw(st.sampled_from(sorted(MADE)))]
    # The last line may lack its line end, which changes nothing.
    cut = data.draw(st.integers(0, len(text.rstrip(b"\r\n")) - 1))
    file = tmp_path / "orca.out"
    file.write_bytes(text[:cut])
    output = read_everything(file)
    # Of two runs the first may be there whole, and nothing that can be seen of the second.
    if not text[:cut].strip(b" *\n").endswith(b" msec"):
        assert output.termination is not Termination.NORMAL
        assert not output.terminated_normally
    assert output.wall_time_s is None or output.terminated_normally


@SETTINGS
@given(
    name=st.sampled_from(sorted(MADE)),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 3000),
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from(
                    [
                        b"\0" * 600,
                        b"\n",
                        b"\r",
                        b"-nan",
                        b"9" * 400,
                        b"1.2.3",
                        b"CARTESIAN GRADIENT\n",
                        b"SCF SETTINGS\n",
                    ]
                ),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_any_mangled_output_gives_an_answer(
    tmp_path: Path, name: str, edits: list[tuple[float, int, bytes]]
) -> None:
    text = bytearray(MADE[name])
    for where, length, put in edits:
        start = int(where * len(text))
        text[start : start + length] = put
    file = tmp_path / "orca.out"
    file.write_bytes(text)
    output = read_everything(file)
    if b"ORCA TERMINATED NORMALLY" not in text or b"TOTAL RUN TIME" not in text:
        assert not output.terminated_normally


@SETTINGS
@given(st.binary(max_size=400))
def test_any_bytes_give_an_answer(tmp_path: Path, data: bytes) -> None:
    for name in ("orca.out", "orca.engrad", "orca.out.gz"):
        file = tmp_path / name
        file.write_bytes((b"\x1f\x8b\x08" + data) if name.endswith("gz") else data)
        assert read_everything(file).termination is not Termination.NORMAL


@SETTINGS
@given(st.sampled_from(sorted(MADE)), st.floats(0, 1), st.integers(0, 255))
def test_a_gzipped_output_with_a_changed_byte_gives_an_answer(
    tmp_path: Path, name: str, where: float, byte: int
) -> None:
    packed = bytearray(gzip.compress(MADE[name], 1))
    place = min(int(where * len(packed)), len(packed) - 1)
    packed[place] = byte
    file = tmp_path / "orca.out.gz"
    file.write_bytes(packed)
    read_everything(file)


@SETTINGS
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(500_000, 2_500_000))
def test_blocks_of_any_size_read_like_the_whole(cycles: list[int], size: int) -> None:
    text = "".join(
        made.optimisation(tuple(-600.0 - 0.01 * number for number in range(count)), bulk=150_000)[
            index % 2 * 5000 :
        ]
        for index, count in enumerate(cycles)
    ).encode()
    whole, pieces = OutputScan(), OutputScan()
    whole.finish(text)
    for start in range(0, len(text) - size, size):
        pieces.feed(text[start : start + size])
    pieces.finish(text[max(0, (len(text) - 1) // size * size) :])
    for name in vars(whole):
        if not name.startswith("_"):
            assert getattr(pieces, name) == getattr(whole, name), name


def test_real_outputs_cut_anywhere(orca_outputs: Path, tmp_path: Path) -> None:
    texts = [
        file.read_bytes()
        for file in sorted(orca_outputs.glob("*.[olt][uox][tg]"))
        if file.stat().st_size < 300_000
    ]
    assert len(texts) >= 15

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(texts), st.floats(0, 1, exclude_max=True))
    def check(text: bytes, where: float) -> None:
        file = tmp_path / "orca.out"
        file.write_bytes(text[: int(where * len(text.rstrip()))])
        output = read_everything(file)
        assert output.termination is not Termination.NORMAL
        assert not output.terminated_normally
        file.write_bytes(text)
        whole = read_output(file)
        assert list(output.energies) == list(whole.energies)[: len(output.energies)]
        assert (
            list(output.scf_cycles_per_scf)
            == list(whole.scf_cycles_per_scf)[: len(output.scf_cycles_per_scf)]
        )
        assert (output.n_gradients or 0) <= (whole.n_gradients or 0)

    check()


@pytest.mark.parametrize("name", sorted(MADE))
def test_the_made_outputs_themselves_end(tmp_path: Path, name: str) -> None:
    file = tmp_path / "orca.out"
    file.write_bytes(MADE[name])
    assert read_everything(file).termination is not Termination.TRUNCATED
