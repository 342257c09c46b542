"""Every row of the table of terminations, and what must not be taken for a failure."""

from pathlib import Path

import pytest

from oact_dagster.orca.outputs.reader import Output, read_output, read_termination
from oact_dagster.orca.outputs.terminations import TERMINATION_RULES, Termination, Where
from oact_dagster_tests.orca.outputs import made_outputs as made

STARTED = (
    made.banner() + made.echo("! wB97M-V EnGrad", "%pal nprocs 4 end") + made.coordinates() + made.settings()
)


def read(tmp_path: Path, text: str) -> Output:
    file = tmp_path / "orca.out"
    file.write_text(text)
    output = read_output(file)
    assert read_termination(file) == (output.termination, output.deciding_line, output.reason)
    return output


FAILURES = [
    # termination, what ORCA (or MPI, or the system) writes, a part of the line that decides
    ("input_error", "     INPUT ERROR\n ====\n no such thing\n", "INPUT ERROR"),
    ("input_error", "UNRECOGNIZED OR DUPLICATED KEYWORD(S) IN SIMPLE INPUT LINE\n  WB98\n", "UNRECOGNIZED"),
    (
        "input_error",
        "[file orca_main/maininp2.cpp, line 2348]:    The basis set was either not assigned or not available for this "
        "element - Aborting the run\n",
        "not available for this element",
    ),
    ("input_error", "  ** There are no CABS   basis functions on atom number   2 (Br) **\n", "no CABS"),
    ("input_error", "  There are no basis functions on atom number 2\n", "no basis functions on atom"),
    (
        "input_error",
        "[file orca_main/mainfcts.cpp, line 671]: Error : multiplicity (2) is even and number of electrons (152) is "
        "even -> impossible\n",
        "multiplicity (2)",
    ),
    ("input_error", "[file orca_main/maininp1.cpp, line 77]: strange\n", "maininp1.cpp"),
    ("input_error", "Unknown identifier in SCF block\n" + made.error_end(), "Unknown identifier"),
    ("input_error", "Cannot open input file: orca.inp\n", "Cannot open"),
    ("disk_full", "write error: No space left on device\n" + made.error_end(), "No space left on device"),
    ("disk_full", "Disk quota exceeded\n", "quota"),
    (
        "out_of_memory",
        " Error  (ORCA_SCF): Not enough memory available!\n"
        "       ====>        Please increase MaxCore to more than:    "
        "      289 MB\n" + made.error_end(),
        "289 MB",
    ),
    ("out_of_memory", "Please increase MaxCore\n" + made.error_end("MDCI"), "Please increase MaxCore"),
    ("out_of_memory", " Error  (ORCA_SCF): Not enough memory available!\n", "Not enough memory"),
    ("out_of_memory", "terminate called after throwing an instance of 'std::bad_alloc'\n", "bad_alloc"),
    ("out_of_memory", "Failed to allocate 12 GB\n" + made.error_end(), "allocate"),
    ("out_of_memory", "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0\n", "oom-kill"),
    (
        "scf_not_converged",
        made.scf(125, converged=False) + made.error_end("LEANSCF"),
        "SCF NOT CONVERGED AFTER 125",
    ),
    ("scf_not_converged", made.scf(125, converged=False), "SCF NOT CONVERGED AFTER 125"),
    (
        "scf_not_converged",
        made.scf(125, converged=False)
        + made.final_energy(-2821.9, "(SCF not fully converged!)")
        + "     This SCF-wavefunction IS NOT FULLY CONVERGED! \n     Aborting the run ...\n",
        "This SCF-wavefunction IS NOT FULLY CONVERGED!",
    ),
    (
        "scf_not_converged",
        made.scf() + made.final_energy(-609.1, "(Wavefunction not fully converged!)") + "     ERROR\n"
        "     This wavefunction IS NOT FULLY CONVERGED! \n     Aborting the run ...\n",
        "This wavefunction",
    ),
    ("scf_not_converged", "CAS-SCF did not converge\n" + made.error_end("CASSCF"), "CAS-SCF did not"),
    (
        "opt_not_converged",
        made.cycle(1) + made.opt_not_converged() + made.error_end("GEOMETRY"),
        "did not converge",
    ),
    ("mpi_error", "ORTE has lost communication with a remote daemon.\n", "ORTE has lost"),
    ("mpi_error", "There are not enough slots available in the system to satisfy the 8 slots\n", "slots"),
    (
        "mpi_error",
        "[n1:1] PMIX ERROR: UNREACHABLE in file server.c at line 2198\n" + made.error_end(),
        "PMIX ERROR",
    ),
    (
        "mpi_error",
        "[n1:1] [[1,0],0] ORTE_ERROR_LOG: Not found in file ess.c\n" + made.error_end(),
        "ORTE_ERROR_LOG",
    ),
    (
        "mpi_error",
        "[node12:04332] PMIX ERROR: UNREACHABLE in file server/pmix_server.c at line 2198\n",
        "PMIX ERROR: UNREACHABLE",
    ),
    (
        "mpi_error",
        "[[1234,0],0] ORTE_ERROR_LOG: Not found in file ess_hnp_module.c at line 320\n",
        "ORTE_ERROR",
    ),
    ("mpi_error", "[n1:1] [[1,0],0] ORTE_ERROR_LOG: Not found in file ess.c at line 1\n", "ORTE_ERROR_LOG"),
    ("aborted", made.error_end("GTOInt"), "error termination in GTOInt"),
    (
        "aborted",
        "Error (ORCA_GTOINT): Zero distance between atoms 1 and 0\n" + made.error_end(),
        "Zero distance",
    ),
    ("aborted", "[file orca_tools/qcmsg.cpp, line 458]: \n  .... aborting the run\n", "aborting the run"),
    ("aborted", "[file orca_scf/x.cpp, line 1, Process 3]: no reason\n", "x.cpp"),
    (
        "aborted",
        "mpirun noticed that process rank 0 with PID 1 on node n1 exited on signal 9 (Killed).\n",
        "signal 9",
    ),
    ("aborted", "[n1:123] *** Process received signal ***\n", "received signal"),
    ("aborted", "Segmentation fault (core dumped)\n", "Segmentation fault"),
    ("aborted", "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\n", "MPI_ABORT"),
    ("aborted", "terminate called without an active exception\n", "terminate called"),
    ("aborted", "forrtl: severe (174): SIGSEGV\n", "forrtl"),
    (
        "aborted",
        "Primary job  terminated normally, but 1 process returned a non-zero exit code.\n",
        "non-zero",
    ),
    (
        "input_error",
        "[file orca_main/main_input_geom_basis.cpp, line 611]: Error: 'END' expected\n",
        "geom_basis",
    ),
    (
        "input_error",
        "[file orca_main/main_input_check.cpp, line 3]: Error (ORCA_MAIN): ... aborting the run\n",
        "check",
    ),
    ("input_error", "[file orca_main/mainchk.cpp, line 12]: \n", "mainchk"),
    ("input_error", "[file orca_main/readinp.cpp, line 12]: \n", "readinp"),
    ("input_error", "ERROR: expect a '$', '!', '%', '*' or '[' in the input\n", "expect a"),
    ("input_error", "Element name/number, dummy atom or point charge expected in COORDS\n", "COORDS"),
    ("mpi_error", "sh: 1: mpirun: not found\n" + made.error_end("GTOInt"), "mpirun: not found"),
    ("mpi_error", "sh: mpirun: command not found\n" + made.error_end("GTOInt"), "mpirun: command"),
    ("mpi_error", "mpirun has detected an attempt to run as root.\n" + made.error_end("GTOInt"), "as root"),
    ("out_of_memory", "State: OUT_OF_MEMORY (exit code 0)\n", "OUT_OF_MEMORY"),
    (
        "out_of_memory",
        "NOT A SINGLE BATCH IS POSSIBLE WITH THE PRESENT MAXCORE\n" + made.error_end("CIS"),
        "SINGLE BATCH",
    ),
    ("disk_full", "Error writing file: Disk full\n" + made.error_end("MDCI"), "Disk full"),
    (
        "disk_full",
        "It appears as if there is not enough space for /dev/shm/osc_rdma.n1.1\n" + made.error_end(),
        "/dev/shm",
    ),
    (
        "scf_not_converged",
        "     *   SERIOUS PROBLEM IN SOSCF   *\n     *   ABORTING THE RUN   *\n" + made.error_end(),
        "SOSCF",
    ),
    ("aborted", "                          ****ORCA TERMINATED NOT NORMALLY****\n", "NOT NORMALLY"),
    (
        "truncated",
        "slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***\n"
        "mpirun noticed that process rank 0 with PID 1 on node n1 exited on signal 15 (Terminated).\n"
        + made.error_end(),
        "TIME LIMIT",
    ),
]


@pytest.mark.parametrize(("termination", "text", "decides"), FAILURES)
def test_a_failure(tmp_path: Path, termination: str, text: str, decides: str) -> None:
    output = read(tmp_path, STARTED + text)
    assert output.termination == termination
    assert output.deciding_line is not None
    assert decides in output.deciding_line
    assert output.reason
    assert not output.terminated_normally


BOX = "            !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!\n"
UNKNOWN = "            UNRECOGNIZED OR DUPLICATED KEYWORD(S) IN SIMPLE INPUT LINE\n"
PLACE = "[file orca_main/maininp4.cpp, line 11068]: \n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # As ORCA 5 and 6 print it.
        (f"{BOX}{' ' * 33}INPUT ERROR\n{UNKNOWN}                       WB97MV  \n{BOX}{PLACE}", ": WB97MV"),
        (f"{UNKNOWN}  WB97MV   PBE99\n  FOO\n{BOX}", ": WB97MV PBE99 FOO"),
        (f"{UNKNOWN}\n  WB97MV\n\nsomething else\n", ": WB97MV"),
        (UNKNOWN, ""),
        (f"{UNKNOWN}{PLACE}", ""),
    ],
)
def test_an_unknown_keyword_is_named(tmp_path: Path, text: str, line: str) -> None:
    output = read(tmp_path, made.banner() + text)
    assert output.termination == "input_error"
    assert output.deciding_line == UNKNOWN.strip() + line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{BOX}  INPUT ERROR\n{'=' * 60}\n Unknown block: %foo\n{BOX}", "INPUT ERROR: Unknown block: %foo"),
        (f"INPUT ERROR\n{BOX}[file orca_main/maininp1.cpp, line 1]: bad line\n", "INPUT ERROR: bad line"),
        (f"INPUT ERROR\n{'=' * 60}\n{' ' * 30}INPUT FILE\nNAME = orca.inp\n", "INPUT ERROR"),
        ("INPUT ERROR", "INPUT ERROR"),
    ],
)
def test_the_banner_of_an_input_error_says_what_stands_below(tmp_path: Path, text: str, line: str) -> None:
    assert read(tmp_path, made.banner() + text).deciding_line == line


def test_the_input_below_a_message_is_no_part_of_it(tmp_path: Path) -> None:
    text = made.banner() + UNKNOWN + made.echo("! B3LPY", "# a comment")
    assert read(tmp_path, text).deciding_line == UNKNOWN.strip()


@pytest.mark.parametrize(
    "line",
    ["[node12:04332] PMIX ERROR: UNREACHABLE in file a.c", "[[1234,0],0] ORTE_ERROR_LOG: Not found in b.c"],
)
def test_an_mpi_error_in_the_file_beside_an_output_without_an_end(tmp_path: Path, line: str) -> None:
    (tmp_path / "orca.out").write_text(STARTED)
    (tmp_path / "orca.err").write_text(f"{line}\n")
    output = read_output(tmp_path)
    assert (output.termination, output.deciding_line) == ("mpi_error", line)


def test_a_program_that_could_not_be_started(tmp_path: Path) -> None:
    text = "orca_main: error while loading shared libraries: libmpi.so.40: cannot open shared object file\n"
    assert read(tmp_path, text).termination == "aborted"
    assert read(tmp_path, "bash: /opt/orca/orca: No such file or directory\n").termination == "aborted"
    assert read(tmp_path, "job.sh: line 5: orca: command not found\n").termination == "aborted"
    assert read(tmp_path, "sh: 1: /opt/orca/orca: not found\n").termination == "aborted"


@pytest.mark.parametrize(
    "harmless",
    [
        "   DIIS-Error          :       0.014517102928\n",
        "  Last DIIS Error            ...    3.9497e-07  Tolerance :   5.0000e-07\n",
        "[n1:1] 7 more processes have sent help message help-mpi-btl-openib.txt / error in device init\n",
        "[n1:1] PMIX ERROR: ERROR in file gds_ds12_lock_pthread.c at line 168\n",
        "[n1:1] PMIX ERROR: NO-PERMISSIONS in file common/dstore_base.c at line 1\n",
        "see https://example.org about ORTE_ERROR_LOG: and PMIX ERROR: UNREACHABLE\n",
        "Warning (ORCA_SYM): Asymmetric unit not constructed so far!\n",
        "WARNING: for better performance please increase MaxCore\n",
        "sum of PNO error estimates for the kept pairs         ...       0.000000000000 Eh\n",
        "     Error in the density fit                ...   0.0001\n",
        "rm: cannot remove 'orca.tmp': No such file or directory\n",
        "cat: orca.bas: No such file or directory\n",
        "run.sh: line 3: cd: /scratch/orca: No such file or directory\n",
        "It appears as if there is not enough space for /dev/shm/osc_rdma.n1.1 (the shared-memory\n",
    ],
)
def test_a_running_job_with_a_harmless_line(tmp_path: Path, harmless: str) -> None:
    for text in (STARTED + harmless, STARTED + made.scf() + harmless, STARTED + harmless + made.scf()):
        output = read(tmp_path, text)
        assert output.termination == "truncated"
        assert "no end" in output.reason


def test_the_failure_of_an_earlier_step_does_not_decide(tmp_path: Path) -> None:
    # An optimisation goes on after an SCF that nearly converged.
    nearly = made.cycle(1) + made.scf(125, converged=False) + made.final_energy(-626.5) + made.gradient()
    going_on = STARTED + nearly + made.cycle(2)
    assert read(tmp_path, going_on).termination == "truncated"
    assert read(tmp_path, going_on + made.scf() + made.error_end("GTOInt")).termination == "aborted"
    done = going_on + made.scf() + made.final_energy() + made.gradient() + made.hurray() + made.normal_end()
    assert read(tmp_path, done).termination == "normal"


def test_an_optimisation_that_ran_out_of_cycles_ends_normally(tmp_path: Path) -> None:
    output = read(tmp_path, made.optimisation(converged=False))
    assert output.termination == "opt_not_converged"
    assert output.terminated_normally
    assert output.opt_converged is False
    assert output.deciding_line == "The optimization did not converge but reached the maximum number of"
    assert output.wall_time_s == 196.84


def test_an_optimisation_that_never_said_that_it_converged(tmp_path: Path) -> None:
    output = read(tmp_path, made.optimisation(converged=False).replace(made.opt_not_converged(), ""))
    assert (output.termination, output.opt_converged) == ("opt_not_converged", False)


def test_a_scan_whose_last_optimisation_converged(tmp_path: Path) -> None:
    step = made.cycle(1) + made.coordinates() + made.scf() + made.final_energy() + made.gradient()
    text = STARTED + step + made.opt_not_converged() + step + made.hurray() + made.normal_end()
    assert read(tmp_path, text).termination == "normal"
    text = STARTED + step + made.hurray() + step + made.opt_not_converged() + made.normal_end()
    assert read(tmp_path, text).termination == "opt_not_converged"


def test_a_normal_end_with_an_energy_that_is_not_converged(tmp_path: Path) -> None:
    output = read(tmp_path, made.single_point(flag="(SCF not fully converged!)"))
    assert output.termination == "scf_not_converged"
    assert output.terminated_normally


@pytest.mark.parametrize(
    ("energy", "why"),
    [
        (-20006124.303127, "below"),
        ("nan", "nan"),
        ("-nan", "nan"),
        ("inf", "inf"),
        (0.0, "not negative"),
        (12.5, "not negative"),
        (-637.0, "from that of the first SCF"),
        (-616.0, "from that of the first SCF"),
    ],
)
def test_an_impossible_energy(tmp_path: Path, energy: float | str, why: str) -> None:
    output = read(tmp_path, made.single_point(energy=energy))
    assert output.termination == "unphysical"
    assert output.terminated_normally
    assert why in output.reason
    assert output.deciding_line is not None
    assert output.deciding_line.startswith("FINAL SINGLE POINT ENERGY")


def test_an_energy_just_within_the_rule(tmp_path: Path) -> None:
    assert read(tmp_path, made.single_point(energy=-636.5)).termination == "normal"
    assert read(tmp_path, made.single_point(energy=-616.7)).termination == "normal"


def test_the_end_of_a_normal_run_counts_only_whole(tmp_path: Path) -> None:
    text = made.single_point()
    end = text.index("****ORCA TERMINATED")
    for cut in range(end, len(text) - 1):
        output = read(tmp_path, text[:cut])
        assert output.termination == "truncated", text[end:cut]
        assert not output.terminated_normally
    assert read(tmp_path, text[:-1]).termination == "normal"
    assert read(tmp_path, text + "Job End Time: today\n[n1:1] 7 more processes\n").termination == "normal"


def test_the_input_may_speak_of_a_normal_end(tmp_path: Path) -> None:
    comments = (
        "# ****ORCA TERMINATED NORMALLY****",
        "# TOTAL RUN TIME: 0 days 0 hours 0 minutes 1 seconds 0 msec",
    )
    text = made.banner() + made.echo("! HF", *comments) + made.scf()
    assert read(tmp_path, text).termination == "truncated"


def test_a_large_output_is_judged_from_both_ends(tmp_path: Path) -> None:
    bulk = 700_000
    cases = {
        made.single_point(bulk=bulk): "normal",
        made.single_point(bulk=bulk, energy=-2e7): "unphysical",
        made.single_point(bulk=bulk, energy=-640.0): "unphysical",
        made.single_point(bulk=bulk, end=""): "truncated",
        made.single_point(bulk=bulk, flag="(SCF not fully converged!)"): "scf_not_converged",
        made.optimisation(bulk=bulk): "normal",
        made.optimisation(bulk=bulk, converged=False): "opt_not_converged",
        made.optimisation(bulk=bulk) + made.single_point(bulk=bulk)[:600_000]: "truncated",
    }
    for text, termination in cases.items():
        assert read(tmp_path, text).termination == termination


def test_the_table_has_a_rule_for_every_termination_and_ends_with_the_one_that_always_fits() -> None:
    assert {rule.termination for rule in TERMINATION_RULES} == set(Termination)
    assert TERMINATION_RULES[-1].where is Where.NO_END
    assert all(rule.why for rule in TERMINATION_RULES)
