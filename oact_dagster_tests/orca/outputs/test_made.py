"""What an output says, field by field, in small outputs of our own making: one fact of ORCA's format a test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import oact_dagster
from oact_dagster.orca.outputs.reader import Output, read_evaluations, read_output, tail
from oact_dagster_tests.orca.outputs import made_outputs as made


def read(tmp_path: Path, text: str | bytes, name: str = "orca.out") -> Output:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_output(file)


def test_a_single_point(tmp_path: Path) -> None:
    output = read(tmp_path, made.single_point(energy=-626.605299205695))
    assert output.termination == "normal"
    assert output.terminated_normally
    assert output.deciding_line == "****ORCA TERMINATED NORMALLY****"
    assert output.orca_version == "6.1.0"
    assert output.final_energy == -626.605299205695
    assert output.energies == (-626.605299205695,)
    assert output.final_energy_flag is None
    assert output.scf_cycles_per_scf == (12,)
    assert output.scf_cycles_total == 12
    assert output.n_cores == 4
    assert output.wall_time_s == 196.84
    assert (output.charge, output.mult) == (2, 1)
    assert output.s2 is None
    assert (output.opt_cycles, output.opt_converged) == (0, None)
    assert output.input_comments == ("token a1b2",)
    assert output.file == tmp_path / "orca.out"
    assert not output.is_standin


def test_component_and_norm_of_the_cartesian_gradient_only(tmp_path: Path) -> None:
    output = read(tmp_path, made.single_point())
    assert output.n_gradients == 1
    assert output.max_abs_gradient_component == 0.004
    assert output.max_atom_force_norm == 0.005
    assert output.gradient == made.GRADIENT
    assert output.symbols == ("U", "O", "O")
    assert output.coordinates == ((0.0, 0.0, 0.0), (0.0, 0.0, 1.7), (0.0, 0.0, -1.7))
    assert output.gradient_energy == output.final_energy


@pytest.mark.parametrize("word", ["Cartesian", "cartesian"])
def test_a_gradient_of_which_only_the_norms_are_printed(tmp_path: Path, word: str) -> None:
    text = made.single_point(with_gradient=False, end=made.norms(0.0123, word=word) + made.normal_end())
    output = read(tmp_path, text)
    assert (output.n_gradients, output.max_abs_gradient_component) == (1, 0.0123)
    assert output.max_atom_force_norm is None
    assert output.gradient is None


def test_frozen_coordinates_stand_between_heading_and_gradient(tmp_path: Path) -> None:
    row = "   1   U   :    0.0000"
    warning = "WARNING: THERE ARE 3 CONSTRAINED CARTESIAN COORDINATES\n\n"
    assert row in made.gradient()
    table = made.gradient().replace(row, warning + row)
    output = read(tmp_path, made.single_point(with_gradient=False, end=table + made.normal_end()))
    assert output.gradient == made.GRADIENT


def test_the_gradient_of_the_mp2_module_stands_before_its_energy(tmp_path: Path) -> None:
    mp2 = "The final MP2 gradient\n" + "".join(
        f"{number:3d}: {x:12.8f} {y:12.8f} {z:12.8f}\n" for number, (x, y, z) in enumerate(made.GRADIENT)
    )
    parts = [made.banner("4.2.0"), made.echo("! RI-MP2 def2-TZVP Opt")]
    for number, energy in enumerate((-626.1, -626.2), start=1):
        parts += [
            made.cycle(number),
            made.coordinates(),
            made.settings(),
            made.scf(9),
            mp2 + "\n",
            made.final_energy(energy),
        ]
    parts += [made.hurray(), made.coordinates(), made.scf(3), made.final_energy(-626.3), made.normal_end()]
    file = tmp_path / "orca.out"
    file.write_text("".join(parts))
    assert [step.energy for step in read_evaluations(file)] == [-626.1, -626.2]
    assert read_output(file).gradient_energy == -626.2


def test_an_optimisation_has_one_more_scf_and_energy_than_gradients(tmp_path: Path) -> None:
    output = read(tmp_path, made.optimisation((-626.4, -626.5, -626.6)))
    assert output.termination == "normal"
    assert (output.opt_cycles, output.opt_converged, output.n_gradients) == (3, True, 3)
    assert output.scf_cycles_per_scf == (9, 10, 11, 3)
    assert output.final_energy == -626.600001
    assert output.gradient_energy == -626.6
    assert output.coordinates == ((0.0, 0.0, 0.0), (0.0, 0.0, 1.73), (0.0, 0.0, -1.73))
    steps = read_evaluations(tmp_path / "orca.out")
    assert [(step.energy, step.coordinates and step.coordinates[1][2]) for step in steps] == [
        (-626.4, 1.71),
        (-626.5, 1.72),
        (-626.6, 1.73),
    ]


def test_evaluations_pair_without_printed_coordinates(tmp_path: Path) -> None:
    text = made.optimisation().replace("CARTESIAN COORDINATES (ANGSTROEM)", "COORDINATES ARE NOT PRINTED")
    steps = read_evaluations_of(tmp_path, text)
    assert [step.energy for step in steps] == [-626.4, -626.5, -626.6]
    assert {step.symbols for step in steps} == {None}


def read_evaluations_of(tmp_path: Path, text: str):
    file = tmp_path / "orca.out"
    file.write_text(text)
    return read_evaluations(file)


@pytest.mark.parametrize(
    "flag", ["(SCF not fully converged!)", "(Wavefunction not fully converged!)", "(Something else)"]
)
def test_the_flag_behind_an_energy(tmp_path: Path, flag: str) -> None:
    output = read(tmp_path, made.single_point(flag=flag))
    assert output.final_energy == -626.6
    assert output.final_energy_flag == flag


def test_an_energy_of_an_external_program_and_the_parts_of_an_oniom(tmp_path: Path) -> None:
    external = "FINAL SINGLE POINT ENERGY (From external program)      -76.123456789012\n"
    assert read(tmp_path, made.banner() + external).energies == (-76.123456789012,)
    layers = (
        "FINAL SINGLE POINT ENERGY (L-QM2)     -10.0\nFINAL SINGLE POINT ENERGY (S-QM)     -20.0\n"
        "FINAL SINGLE POINT ENERGY (QM/QM2)     -30.0\n"
    )
    assert read(tmp_path, made.banner() + layers).energies == (-30.0,)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("3.0.1 -  RELEASE  -", "3.0.1"),
        ("4.0.0.2 - RELEASE -", "4.0.0.2"),
        ("5.0.3 -  RELEASE  -", "5.0.3"),
        ("6.0.x  -  CURRENT   -", "6.0.x"),
        ("6.1.0-f.0  -  RELEASE   -", "6.1.0-f.0"),
    ],
)
def test_the_version_as_printed(tmp_path: Path, release: str, version: str) -> None:
    text = made.banner().replace("6.1.0  -  RELEASE   -", release)
    assert read(tmp_path, text).orca_version == version


@pytest.mark.parametrize(
    ("inputs", "n_cores"),
    [
        (("! HF", "%pal nprocs 36 end"), 36),
        (("! HF", "%pal", "  nprocs 12", "end"), 12),
        (("! HF", "%PAL", "nproc 2", "END"), 2),
        (("! HF", "%pal nprocs=16 end"), 16),
        (("! HF PAL4 TightSCF",), 4),
        (("!PAL8",), 8),
        (("! HF", "# nprocs 8", "#%pal nprocs 8 end", "%pal nprocs 3 # nprocs 9", "end"), 3),
        (("! HF", "%pal", "# nprocs 8", "end"), 1),
        (("! HF", "%pal end", "%md nprocs 8"), 1),
        (("! HF",), 1),
    ],
)
def test_cores_from_the_echoed_input(tmp_path: Path, inputs: tuple[str, ...], n_cores: int) -> None:
    assert read(tmp_path, made.single_point(cores=None, inputs=inputs)).n_cores == n_cores


def test_the_mpi_banner_counts_before_the_input(tmp_path: Path) -> None:
    assert read(tmp_path, made.single_point(cores=2, inputs=("! PAL8",))).n_cores == 2


def test_cores_are_unknown_where_the_file_was_cut_before_it_could_tell(tmp_path: Path) -> None:
    assert read(tmp_path, made.banner()).n_cores is None
    assert read(tmp_path, (made.banner() + made.echo("! HF", "%pal nprocs 4 end"))[:-300]).n_cores is None


def test_wall_time_of_days(tmp_path: Path) -> None:
    output = read(tmp_path, made.single_point(end=made.normal_end(3, 17, 29, 31, 377)))
    assert output.wall_time_s == ((3 * 24 + 17) * 60 + 29) * 60 + 31.377


def test_jobs_of_one_run_count_together(tmp_path: Path) -> None:
    job = [made.coordinates(), made.settings(charge=-1), made.scf(7), made.final_energy(-264.5)]
    other = [
        made.coordinates(),
        made.settings(charge=0, mult=2),
        made.scf(5, -900.0),
        made.final_energy(-900.1),
    ]
    text = [
        made.banner(),
        made.echo("! HF", "* xyz 0 1", "*", "$new_job", "! HF"),
        "$$  JOB NUMBER  1 $$\n",
        *job,
    ]
    output = read(tmp_path, "".join([*text, "$$  JOB NUMBER  2 $$\n", *other, made.normal_end()]))
    assert output.energies == (-264.5, -900.1)
    assert output.scf_cycles_total == 12
    assert (output.charge, output.mult) == (0, 2)
    # The second job's energy is far from the first job's SCF, which is no sign of a blown-up SCF.
    assert output.termination == "normal"


def test_the_last_of_several_runs_in_one_file_counts(tmp_path: Path) -> None:
    first, second = made.optimisation(), made.single_point(energy=-626.7)
    output = read(tmp_path, first + "srun: a line between\n" + second)
    assert output.termination == "normal"
    assert output.energies == (-626.7,)
    assert (output.opt_cycles, output.scf_cycles_total) == (0, 12)
    cut = read(tmp_path, first + second[: len(second) // 2])
    assert (cut.termination, cut.wall_time_s) == ("truncated", None)


def test_casscf_prints_no_scf_cycles(tmp_path: Path) -> None:
    text = made.banner() + made.echo("! CASSCF") + made.final_energy(-1.5) + made.normal_end()
    assert read(tmp_path, text).scf_cycles_total is None


def test_spin_contamination_is_the_last(tmp_path: Path) -> None:
    assert read(tmp_path, made.single_point(s2=6.00583, kind="UHF")).s2 == 6.00583


@pytest.mark.parametrize("bulk", [0, 600_000])
def test_populations_between_scf_and_energy_change_nothing(tmp_path: Path, bulk: int) -> None:
    output = read(tmp_path, made.single_point(bulk=bulk, s2=6.0, kind="UHF"))
    assert (output.s2, output.charge, output.mult, output.n_cores) == (6.0, 2, 1, 4)
    assert output.scf_cycles_per_scf == (12,)
    assert output.gradient == made.GRADIENT
    assert output.termination == "normal"


def test_a_second_scf_amid_the_populations_is_found(tmp_path: Path) -> None:
    text = made.single_point(bulk=600_000, s2=2.5, kind="UHF")
    middle = text.index("LOEWDIN") + 300_000
    middle = text.index("\n", middle) + 1
    output = read(tmp_path, text[:middle] + made.scf(8, s2=2.25) + text[middle:])
    assert output.scf_cycles_per_scf == (12, 8)
    assert output.s2 == 2.25


def test_spin_contamination_far_behind_the_scf_is_found(tmp_path: Path) -> None:
    text = made.single_point(bulk=600_000, kind="UHF")
    middle = text.index("\n", text.index("LOEWDIN") + 300_000) + 1
    output = read(
        tmp_path, text[:middle] + "Expectation value of <S**2>     :     0.750123\n" + text[middle:]
    )
    assert output.s2 == 0.750123


def test_windows_line_ends_and_latin_1(tmp_path: Path) -> None:
    text = made.optimisation().replace("! wB97M-V Opt", "# José Páez — actinides\n| 99> # second")
    plain = read(tmp_path, text)
    crlf = read(tmp_path, text.replace("\n", "\r\n").encode("utf-8"))
    latin = read(tmp_path, text.replace("—", "-").encode("latin-1"))
    assert plain.input_comments == crlf.input_comments == ("José Páez — actinides", "second")
    assert latin.input_comments[0] == "José Páez - actinides"
    for other in (crlf, latin):
        assert (other.energies, other.evaluation, other.wall_time_s, other.termination, other.charge) == (
            (plain.energies, plain.evaluation, plain.wall_time_s, "normal", 2)
        )


def test_a_number_that_is_cut_is_not_read(tmp_path: Path) -> None:
    text = made.banner() + made.coordinates() + "FINAL SINGLE POINT ENERGY      -626.605299205695\n"
    whole = read(tmp_path, text)
    assert whole.final_energy == -626.605299205695
    for length in range(1, 20):
        assert read(tmp_path, text[:-length]).final_energy is None


def test_a_gradient_that_is_cut_leaves_the_one_before(tmp_path: Path) -> None:
    text = made.optimisation((-626.4, -626.5), converged=False)
    last = text.rindex("CARTESIAN GRADIENT\n")
    end = text.index("\n\n", text.index("   1   U ", last)) + 1
    for cut in range(last, end):
        output = read(tmp_path, text[:cut])
        assert output.gradient_energy == (-626.4 if cut < end else -626.5)
        assert output.n_gradients == 1
    assert read(tmp_path, text[: end + 1]).gradient_energy == -626.5


def test_a_stand_in_says_that_it_is_not_orca(tmp_path: Path) -> None:
    notice = "   *** NOT ORCA: energies of GFN2-xTB, written by a stand-in ***\n"
    for text in (notice + made.single_point(), made.single_point().replace("\n\n", "\n" + notice, 1)):
        assert read(tmp_path, text).is_standin
    assert not read(tmp_path, made.single_point(inputs=("! HF", "# this is NOT ORCA"))).is_standin
    assert not read(
        tmp_path, made.single_point(end="NOT ORCA" * 2 + made.normal_end(), bulk=60_000)
    ).is_standin


def test_the_last_printable_lines(tmp_path: Path) -> None:
    file = tmp_path / "orca.out"
    file.write_bytes(b"first\n\n \x00\x00 \nsecond \x1b[31mred\nP\xe1ez\n" + b"x" * 1000 + b"\nlast")
    assert tail(file, 2) == "x" * 400 + "\nlast"
    assert tail(file) == "first\nsecond  [31mred\nPáez\n" + "x" * 400 + "\nlast"
    assert tail(tmp_path / "nothing") == ""
    assert tail(tmp_path) == tail(file)


def test_importing_the_reader_pulls_nothing_from_outside_the_standard_library() -> None:
    program = (
        "import sys; import oact_dagster.orca.outputs.reader as o; o.read_output('/nowhere');"
        "print(*sorted({n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names) - {'__main__'}))"
    )
    source = str(Path(oact_dagster.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    run = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.split() == ["oact_dagster"]
