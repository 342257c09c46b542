"""What an output must not be misled by: the input that it repeats, tables it cannot read, other platforms' text."""

from pathlib import Path

import pytest

from oact_dagster.orca.outputs.reader import (
    Output,
    read_engrad,
    read_evaluations,
    read_output,
    read_termination,
    tail,
)
from oact_dagster_tests.orca.outputs import made_outputs as made

COMMENTS = (
    "# Fix: Increase %maxcore to at least 4000",
    "# SCF NOT CONVERGED AFTER 125 CYCLES",
    "# No space left on device",
    "# std::bad_alloc",
    "# aborting the run",
    "# segmentation fault",
    "# multiplicity (2) is even and number of electrons (10) is even, Error : multiplicity (2) is even",
    "# of the GEOMETRY OPTIMIZATION CYCLE  12 of another run",
    "# Program running with 8 parallel MPI-processes",
    "# Expectation value of <S**2>     :     0.770000",
    "# NOT ORCA, Program Version 9.9.9",
    "# ****END OF INPUT****",
    "# slurmstepd: error: Detected 1 oom-kill event",
    "# INPUT ERROR",
    "[n1:1] PMIX ERROR: UNREACHABLE in file server.c at line 2198",
    "[[1234,0],0] ORTE_ERROR_LOG: Not found in file ess.c at line 1",
)


def read(tmp_path: Path, text: str | bytes) -> Output:
    file = tmp_path / "orca.out"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    output = read_output(file)
    assert read_termination(file) == (output.termination, output.deciding_line, output.reason)
    return output


@pytest.mark.parametrize("comment", COMMENTS)
def test_the_echoed_input_decides_nothing(tmp_path: Path, comment: str) -> None:
    head = made.banner() + made.echo("! wB97M-V EnGrad", comment, comment) + made.coordinates()
    done = read(tmp_path, head + made.settings() + made.scf() + made.final_energy() + made.normal_end())
    assert (done.termination, done.n_cores, done.s2, done.opt_cycles) == ("normal", 1, None, 0)
    assert (done.scf_cycles_total, done.is_standin, done.orca_version) == (12, False, "6.1.0")
    assert done.input_comments == ((comment.removeprefix("# "),) * 2 if comment[0] == "#" else ())
    assert read(tmp_path, head).termination == "truncated"
    failed = read(tmp_path, head + made.error_end("GTOInt"))
    assert failed.termination == "aborted"
    assert failed.deciding_line == "ORCA finished by error termination in GTOInt"


def test_a_cut_echo_decides_nothing(tmp_path: Path) -> None:
    text = made.banner() + made.echo("! wB97M-V EnGrad", *COMMENTS)
    for cut in range(text.index("INPUT FILE"), len(text), 7):
        output = read(tmp_path, text[:cut])
        assert (output.termination, output.scf_cycles_total, output.s2) == ("truncated", None, None)


def test_a_message_before_the_echo_counts(tmp_path: Path) -> None:
    text = (
        made.banner() + "UNRECOGNIZED OR DUPLICATED KEYWORD(S) IN SIMPLE INPUT LINE\n" + made.echo("! B3LPY")
    )
    assert read(tmp_path, text).termination == "input_error"


@pytest.mark.parametrize("label", ["-", "DA", "X", "C:", "C :"])
def test_dummy_and_ghost_atoms_are_rows_of_both_tables(tmp_path: Path, label: str) -> None:
    atoms: tuple[made.Atom, ...] = (("C", 0.0, 0.0, 0.0), (label, 1.0, 0.0, 0.0), ("U", 0.0, 0.0, 2.0))
    text = made.banner() + made.echo("! HF EnGrad") + made.coordinates(atoms) + made.settings()
    text += made.scf() + made.final_energy()
    table = made.gradient(atoms=atoms) if ":" not in label else ""
    output = read(tmp_path, text + table + made.normal_end())
    assert output.termination == "normal"  # though far below the energy of a lone C
    if table:
        assert output.symbols == ("C", label, "U")
        assert output.gradient == made.GRADIENT


def test_a_geometry_with_a_row_that_cannot_be_read_bounds_nothing(tmp_path: Path) -> None:
    atoms: tuple[made.Atom, ...] = (("H", 0.0, 0.0, 0.0), ("!!", 1.0, 0.0, 0.0), ("U", 0.0, 0.0, 2.0))
    text = made.single_point().replace(made.coordinates(), made.coordinates(atoms))
    output = read(tmp_path, text)
    assert (output.termination, output.symbols, output.gradient) == ("normal", None, made.GRADIENT)


@pytest.mark.parametrize("damage", ["\0" * 23, "??", " " * 9 + "0.003000000"])
def test_a_gradient_with_a_row_that_cannot_be_read_is_none(tmp_path: Path, damage: str) -> None:
    row = made.gradient().index("   2   O   :")
    table = made.gradient()[:row] + damage + made.gradient()[row + len(damage) :]
    output = read(tmp_path, made.single_point(with_gradient=False, end=table + made.normal_end()))
    assert (output.gradient, output.n_gradients, output.max_atom_force_norm) == (None, 1, None)
    assert output.max_abs_gradient_component == 0.004


def test_a_gradient_that_contradicts_its_printed_maximum_is_none(tmp_path: Path) -> None:
    table = made.gradient().replace("0.004000000 ", "0.003900000 ")
    output = read(tmp_path, made.single_point(with_gradient=False, end=table + made.normal_end()))
    assert (output.gradient, output.n_gradients, output.max_abs_gradient_component) == (None, 1, 0.004)


def test_an_old_orca_says_only_in_the_box_that_the_scf_did_not_converge(tmp_path: Path) -> None:
    head = made.banner("3.0.3") + made.echo("! HF") + made.coordinates() + made.settings()
    bad, good, end = made.scf(125, converged=False), made.scf(), made.final_energy() + made.normal_end()
    output = read(tmp_path, head + bad + end)
    assert (output.termination, output.terminated_normally) == ("scf_not_converged", True)
    assert output.deciding_line == "SCF NOT CONVERGED AFTER 125 CYCLES"
    assert read(tmp_path, head + good + bad + end).termination == "scf_not_converged"
    assert read(tmp_path, head + bad + good + end).termination == "normal"
    assert read(tmp_path, head + bad + made.populations(800_000) + end).termination == "scf_not_converged"


def layered_cycle(number: int) -> str:
    part: tuple[made.Atom, ...] = (*made.URANYL[:2], ("H", 0.0, 0.0, 3.0))
    whole = (*part, ("C", 0.0, 0.0, 5.0))
    rows = ((0.01, 0.0, 0.0), (0.02, 0.0, 0.0), (0.0, 0.03, 0.0), (0.0, 0.0, 0.05))
    total = made.final_energy(-640.0 - number).replace("ENERGY ", "ENERGY (QM/QM2) ")
    table = made.gradient(rows, whole).replace("CARTESIAN GRADIENT\n", "CARTESIAN GRADIENT (QM/MM)\n")
    parts = [
        made.cycle(number),
        made.coordinates(part),
        made.settings(),
        made.scf(),
        made.final_energy(-626.6),
    ]
    return "".join([*parts, total, made.gradient(atoms=part), table])


def test_the_totals_of_a_layered_calculation_go_together(tmp_path: Path) -> None:
    text = made.banner("5.0.4") + made.echo("! QM/QM2 Opt") + layered_cycle(1) + layered_cycle(2)
    output = read(tmp_path, text + made.hurray() + made.normal_end())
    assert output.termination == "normal"  # more than 10 Eh from the SCF of its part
    assert (output.final_energy, output.max_abs_gradient_component) == (-642.0, 0.05)
    steps = read_evaluations(tmp_path / "orca.out")
    assert [(step.energy, len(step.gradient), step.symbols) for step in steps] == [
        (-641.0, 4, None),
        (-642.0, 4, None),
    ]


@pytest.mark.parametrize("colon", [" :", "  "])
def test_the_gradient_of_a_semiempirical_run(tmp_path: Path, colon: str) -> None:
    table = made.gradient()
    table = table[table.index("------------------\nCARTESIAN GRADIENT") :]
    table = table.replace(
        "------------------\nCARTESIAN GRADIENT\n------------------\n\n", "The cartesian gradient:\n"
    )
    table = table.replace(" :", colon)
    inputs = ("! AM1 EnGrad",)
    text = made.single_point(inputs=inputs, with_gradient=False, end=table + made.normal_end())
    output = read(tmp_path, text)
    assert (output.gradient, output.n_gradients, output.gradient_energy) == (made.GRADIENT, 1, -626.6)


def test_what_may_follow_the_end(tmp_path: Path) -> None:
    text = made.single_point()
    script = "\n   *****************\n   job done\n   *****************\n"
    assert read(tmp_path, text + script).termination == "normal"
    assert read(tmp_path, text.encode() + b"\0" * 400_000).termination == "normal"
    assert read(tmp_path, text.encode() + b"\0" * 400_000).wall_time_s == 196.84
    banner = made.banner()
    for cut in range(banner.index("*") + 2, banner.index("* O   R") + 12):
        assert read(tmp_path, text + banner[:cut]).termination == "truncated", banner[:cut]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_text_of_another_platform(tmp_path: Path, encoding: str) -> None:
    expected = read(tmp_path, made.single_point(bulk=300_000))
    assert read(tmp_path, made.single_point(bulk=300_000).encode(encoding)) == expected
    assert read(tmp_path, made.single_point(bulk=300_000).replace("\n", "\r")) == expected


def test_an_engrad_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "orca.engrad"
    numbers = (" 1", " -0.5", " 0.1\n 0.2\n 0.3", " 1 0.0 0.0 0.0")
    text = "".join(f"#\n# a comment\n#\n{number}\n" for number in numbers)
    file.write_bytes(text.encode("utf-8-sig"))
    assert read_engrad(file).gradient == ((0.1, 0.2, 0.3),)


def test_an_empty_path_is_not_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, made.single_point())
    monkeypatch.chdir(tmp_path)
    assert read_output(".").termination == "normal"
    assert (read_output("").termination, read_output("").file) == ("truncated", None)
    assert (read_evaluations(""), read_engrad("").file, tail("")) == ((), None, "")


@pytest.mark.parametrize("method", ["ZINDO/S", "AM1", "PM3", "NDDO", "INDO"])
def test_a_semiempirical_energy_may_be_positive(tmp_path: Path, method: str) -> None:
    text = made.single_point(energy=21.25, inputs=(f"! {method} EnGrad",)).replace(
        made.scf(), made.scf(energy=21.1)
    )
    assert read(tmp_path, text).termination == "normal"
    assert read(tmp_path, text.replace(f"! {method}", f"! HF # {method}")).termination == "unphysical"


@pytest.mark.parametrize("method", ["DLPNO-CCSD(T)", "RI-MP2", "B2PLYP"])
def test_a_correlation_energy_may_be_large(tmp_path: Path, method: str) -> None:
    text = made.single_point(energy=-640.0, inputs=(f"! {method} cc-pVTZ",))
    assert read(tmp_path, text).termination == "normal"
    astray = text.replace(made.final_energy(-640.0), made.scf(energy=-640.0) + made.final_energy(-640.5))
    assert read(tmp_path, astray).termination == "unphysical"
