"""Files that are no outputs, or damaged ones: a termination and a reason, in bounded memory."""

import gzip
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

import oact_dagster
from oact_dagster.orca.outputs.reader import (
    Output,
    read_engrad,
    read_evaluations,
    read_output,
    read_termination,
    tail,
)
from oact_dagster_tests.orca.outputs import made_outputs as made


def truncated(path: str | Path, reason: str) -> Output:
    output = read_output(path)
    assert output.termination == "truncated"
    assert reason in output.reason
    assert read_termination(path) == (output.termination, output.deciding_line, output.reason)
    assert isinstance(tail(path), str)
    read_engrad(path)
    read_evaluations(path)
    return output


def test_nothing_there(tmp_path: Path) -> None:
    truncated(tmp_path / "orca.out", "no such file")
    truncated("orca\0.out", "not a path")
    truncated(tmp_path, "no ORCA output")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "orca.out").touch()
    output = truncated(tmp_path / "orca.out", "empty")
    assert (output.n_cores, output.n_gradients, output.opt_cycles, output.scf_cycles_total) == (None,) * 4


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "orca.out")
    truncated(tmp_path / "orca.out", "not a regular file")
    truncated(tmp_path, "not a regular file")


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "orca.out").mkdir()
    truncated(tmp_path, "it is a folder")


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "orca.out").symlink_to(tmp_path / "gone")
    truncated(tmp_path, "no such file")


def test_no_permission() -> None:
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1]);"
        "from oact_dagster.orca.outputs.reader import read_output;"
        "os.geteuid() or os.setuid(65534);"  # root may read everything: become nobody
        "[print(output.termination, output.reason) for output in map(read_output, sys.argv[2:])]"
    )
    source = str(Path(oact_dagster.__file__).parents[1])
    with tempfile.TemporaryDirectory() as name:
        file, folder = Path(name, "orca.out"), Path(name, "job")
        file.write_text(made.single_point())
        file.chmod(0)
        folder.mkdir(mode=0)
        Path(name).chmod(0o755)
        command = [sys.executable, "-c", program, source, file, folder]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        folder.chmod(0o700)
    first, second = run.stdout.splitlines()
    assert first == "truncated it cannot be read: Permission denied"
    assert second.startswith("truncated the folder cannot be read")


@pytest.mark.parametrize(
    "data", [b"\0" * 10_000, bytes(range(256)) * 50, b"\xff\xfe" * 99, b"\n" * 999, b"x" * 70_000]
)
def test_bytes_that_are_not_orcas(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "orca.out"
    file.write_bytes(data)
    output = truncated(file, "the file is not an ORCA output")
    assert (output.n_cores, output.n_gradients, output.opt_cycles) == (None, None, None)


def test_nul_bytes_amid_an_output(tmp_path: Path) -> None:
    text = made.optimisation().encode()
    hole = text.index(b"CYCLE   2") - 200
    file = tmp_path / "orca.out"
    file.write_bytes(text[:hole] + b"\0" * 4096 + text[hole:])
    output = read_output(file)
    assert (output.termination, output.final_energy, output.opt_cycles) == ("normal", -626.600001, 3)
    file.write_bytes(text[:hole] + b"\0" * 4096)
    assert read_output(file).termination == "truncated"


def test_very_long_numbers_and_lines(tmp_path: Path) -> None:
    digits = "9" * 5000
    file = tmp_path / "orca.out"
    file.write_text(
        made.banner()
        + made.echo(f"%pal nprocs {digits} end")
        + f"SCF CONVERGED AFTER {digits} CYCLES\nFINAL SINGLE POINT ENERGY  -{digits}.5\n"
        + f"Program running with {digits} parallel MPI-processes\n"
        + f"------------\nSCF SETTINGS\n Total Charge           Charge          ....    {digits}\n"
        + f"CARTESIAN GRADIENT\n\n {digits} U : {digits}.0 1.0 2.0\n\n"
        + f"TOTAL RUN TIME: {digits} days 0 hours 0 minutes 0 seconds 0 msec\n"
    )
    output = read_output(file)
    assert output.termination == "truncated"
    assert output.final_energy == float("-inf")
    assert (output.scf_cycles_total, output.charge, output.wall_time_s) == (None, None, None)
    engrad = tmp_path / "orca.engrad"
    engrad.write_text(f"{digits}\n{digits}\n")
    assert read_engrad(engrad).n_atoms is None


@pytest.mark.parametrize("level", [1, 9])
def test_a_gzip_file_cut_at_any_byte(tmp_path: Path, level: int) -> None:
    data = gzip.compress(made.single_point(bulk=20_000).encode(), level)
    file = tmp_path / "orca.out.gz"
    file.write_bytes(data)
    assert read_output(file).termination == "normal"
    for cut in range(0, len(data), 7):
        file.write_bytes(data[:cut])
        assert read_output(file).termination == "truncated"
    file.write_bytes(data[:-1])
    truncated(file, "gzip stream is truncated")


def test_a_gzip_file_with_something_behind_it(tmp_path: Path) -> None:
    text = made.single_point().encode()
    file = tmp_path / "orca.out"
    for behind in (b"garbage", b"\0" * 512, b"\x1f", text):
        file.write_bytes(gzip.compress(text) + behind)
        assert read_output(file).termination == "normal"
    half = len(text) // 2
    file.write_bytes(gzip.compress(text[:half]) + gzip.compress(text[half:]))
    output = read_output(file)
    assert (output.termination, output.final_energy) == ("normal", -626.6)
    file.write_bytes(gzip.compress(text[:half]) + gzip.compress(text[half:])[:-9])
    truncated(file, "gzip stream is truncated")


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(made.single_point(bulk=20_000).encode()))
    file = tmp_path / "orca.out.gz"
    data[-6] ^= 0xFF  # the checksum
    file.write_bytes(data)
    truncated(file, "gzip stream is damaged")
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    assert read_output(file).termination == "truncated"
    file.write_bytes(b"\x1f\x8b" + b"\0" * 99)
    assert read_output(file).termination == "truncated"


def test_a_gz_that_is_not_gzipped(tmp_path: Path) -> None:
    file = tmp_path / "orca.out.gz"
    file.write_text(made.single_point())
    assert read_output(file).termination == "normal"


def measured(tmp_path: Path, file: Path) -> tuple[str, int]:
    """Read a file in a process of its own: what it says, and the process's peak memory in MB."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]); from oact_dagster.orca.outputs.reader import read_output;"
        "o = read_output(sys.argv[1]);"
        "print(o.termination, o.opt_cycles, o.final_energy, len(o.energies), sep=',');"
        # Not getrusage: a process inherits the peak of the one that started it.
        "print(*(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM:')))"
    )
    source = str(Path(oact_dagster.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", program, file, source], capture_output=True, text=True, check=True
    )
    said, peak = run.stdout.split()
    return said, int(peak)


@pytest.mark.slow
def test_a_file_of_4_gb_needs_less_than_64_mb(tmp_path: Path) -> None:
    text = made.optimisation().encode()
    middle = text.index(b"GEOMETRY OPTIMIZATION CYCLE   2")
    middle = text.rindex(b"\n", 0, text.rindex(b"\n", 0, middle)) + 1
    file = tmp_path / "orca.out"
    with file.open("wb") as output:
        output.write(text[:middle])
        output.seek(4 << 30)  # a hole: no disk space
        output.write(b"\n" + text[middle:])
    said, peak = measured(tmp_path, file)
    assert said == "normal,3,-626.600001,4"
    assert peak < 64


@pytest.mark.slow
def test_a_small_gzip_file_that_unpacks_to_1_gb_needs_less_than_64_mb(tmp_path: Path) -> None:
    text = made.optimisation().encode()
    file = tmp_path / "orca.out.gz"
    packer = zlib.compressobj(1, wbits=31)
    block = b" " * (1 << 20)
    with file.open("wb") as output:
        for part in (text[:30_000], *([block] * 1024), b"\n", text[30_000:] or text):
            output.write(packer.compress(part))
        output.write(packer.flush())
    said, peak = measured(tmp_path, file)
    assert said.startswith("normal,3,-626.600001,")
    assert peak < 64


def test_millions_of_energies_need_less_than_64_mb(tmp_path: Path) -> None:
    line = made.final_energy(-626.5).encode()
    file = tmp_path / "orca.out"
    with file.open("wb") as output:
        output.write(made.banner().encode())
        for _ in range(100):
            output.write(line * 6000)
        output.write((made.final_energy(-626.6) + made.normal_end()).encode())
    said, peak = measured(tmp_path, file)
    assert said == "normal,0,-626.6,250000"
    assert peak < 64
