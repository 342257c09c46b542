"""What the output of a failed attempt tells for the next one."""

import gzip

import pytest

from oact_dagster.orca.outputs.attempt_evidence import AttemptEvidence, read_evidence
from oact_dagster_tests.orca.outputs.made_outputs import banner, echo, gradient, scf

OLD = "ITER       Energy         Delta-E        Max-DP      RMS-DP      [F,P]     Damp\n"
OLD_SOSCF = "ITER      Energy       Delta-E        Grad      Rot      Max-DP    RMS-DP\n"
NEW = "Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     DIISErr   Damp  Time(sec)\n"
NEW_SOSCF = "Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     MaxGrad    Time(sec)\n"
NOT_CONVERGED = "               *        SCF NOT CONVERGED AFTER 125 CYCLES         *\n"


def evidence(tmp_path, text):
    file = tmp_path / "orca.out"
    file.write_text(text)
    return read_evidence(file)


@pytest.mark.parametrize(
    ("table", "near"),
    [
        # ORCA 3 to 5, before and after SOSCF begins.
        (f"{OLD} 124  -2821.9215855205   0.000037800796 0.00412549  0.00014041  0.0002742 0.0000\n", True),
        (f"{OLD} 112  -2821.9210034970   0.000051614558 0.14642276  0.00290344  0.0006918 0.0000\n", False),
        (f"{OLD}   5   -264.5149960298  -0.015265026086 0.00681348  0.00041371  0.0451071 0.8500\n", False),
        (f"{OLD}   5   -264.5149960298  -0.000265026086 0.00981348  0.00100000  0.0451071 0.8500\n", False),
        # Large numbers run into each other.
        (
            f"{OLD}  1 -211559.1855735708-210482.524007323664386667.20600795 2073.42231711  1.2456315 0.7000\n",
            False,
        ),
        (f"{OLD_SOSCF} 10   -264.59118591  -0.0000209672  0.000181  0.000181  0.000908  0.000036\n", True),
        (f"{OLD_SOSCF} 10   -264.59118591  -0.0000209672  0.000181  0.000181  0.020908  0.000036\n", False),
        (
            f"{OLD}  9   -1.0  -9.0\n{OLD_SOSCF} 10   -264.59118591   0.0000000000  0.0  0.0  0.000014  0.000000\n",
            None,
        ),
        # ORCA 6.
        (
            f"{NEW}    2    -157.1854922651515380    -8.12e-02  2.32e-03  3.35e-02  4.73e-02  0.700   0.5\n",
            False,
        ),
        (
            f"{NEW}    2    -157.1854922651515380    -2.99e-03  9.90e-04  9.90e-03  4.73e-02  0.700   0.5\n",
            True,
        ),
        (
            f"{NEW}    2    -157.1854922651515380    -2.99e-03  9.90e-03  9.90e-04  4.73e-02  0.700   0.5\n",
            False,
        ),
        (
            f"{NEW}    2    -157.1854922651515380         nan       nan       nan       nan  0.700   0.5\n",
            False,
        ),
        (
            f"{NEW_SOSCF}    8    -76.4730960543840297     4.37e-06  5.11e-05  4.91e-04  2.90e-04     0.0\n",
            True,
        ),
        # The first iteration has no change of the energy, and TRAH prints none of the density.
        (
            f"{NEW}    1    -157.1043343513198920     0.00e+00  2.90e-05  5.43e-05  9.36e-02  0.700   0.7\n",
            None,
        ),
        (
            f"{NEW}    9    -157.1043343513198920     1.00e-06  2.90e-05  5.43e-05  9.36e-02  0.700   0.7\n"
            "   Iter.        energy            ||Error||_2        Shift\n     1     -157.10433435   0.9e-01   0.1\n",
            None,
        ),
        (NEW, None),
        ("", None),
    ],
)
def test_how_near_the_last_scf_was(tmp_path, table, near):
    text = banner() + table + "               *** Resetting DIIS ***\n" + NOT_CONVERGED + gradient()
    assert evidence(tmp_path, text).near_convergence is near


def test_the_last_scf_and_its_last_iteration_count(tmp_path):
    far = f"{NEW}    2    -157.18549226     -8.12e-02  2.32e-03  3.35e-02  4.73e-02  0.700   0.5\n"
    near = "    3    -157.18549226     -8.12e-06  2.32e-06  3.35e-06  4.73e-02  0.700   0.5\n"
    assert evidence(tmp_path, banner() + far + near + far + NOT_CONVERGED).near_convergence is False
    assert evidence(tmp_path, banner() + far + NOT_CONVERGED + far + near).near_convergence is True
    assert evidence(tmp_path, banner() + scf(converged=False)).near_convergence is True


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("       ====>        Please increase MaxCore to more than:          289 MB", 289),
        ("Please increase %MaxCore to at least 1234.5 MB", 1234),
        ("Please increase MaxCore!", None),
        ("Memory available for SCF calculation:            8 MB", None),
    ],
)
def test_the_memory_that_orca_asks_for(tmp_path, line, asked):
    assert evidence(tmp_path, f"{banner()}{line}\n").memory_asked_mb == asked


def test_a_users_text_is_no_message(tmp_path):
    text = banner() + echo(
        "# Please increase MaxCore to more than: 9 MB", "# ORCA finished by error termination in GTOInt", NEW
    )
    assert evidence(tmp_path, text) == AttemptEvidence(n_gradients=0)


def test_the_program_that_failed_and_the_gradients(tmp_path):
    text = (
        banner()
        + gradient()
        + gradient()
        + "\nORCA finished by error termination in GTOInt\nCalling Command: x\n"
    )
    found = evidence(tmp_path, text)
    assert (found.error_in, found.n_gradients) == ("GTOInt", 2)


def test_nothing_raises(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "empty").touch()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 9999)[:40])
    for path in (*tmp_path.iterdir(), tmp_path, tmp_path / "missing", tmp_path / "x\0y"):
        found = read_evidence(path)
        assert found.near_convergence is found.memory_asked_mb is found.error_in is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arc__orca_scf_memory_error.log", AttemptEvidence(None, 289, "SCF", 0)),
        ("arc__orca_scf_blow_up_error.log", AttemptEvidence(False, None, None, 0)),
        ("cclib-data__ORCA3.0__dvb_gopt_unconverged.out", AttemptEvidence(True, None, None, 5)),
        ("cclib-data__ORCA4.0__IrCl6_sp.out", AttemptEvidence(True, None, None, 0)),
        ("cclib-data__ORCA4.2__a_DLPNO.txt", AttemptEvidence(True, None, None, 0)),
        ("opi__failed_scf.out", AttemptEvidence(False, None, "LEANSCF", 0)),
        ("oact__UO2_opt_logs.out", AttemptEvidence(True, None, None, 7)),
        # Other tables behind that of the SCF have rows that look like its own.
        ("oact__NpF3_quacc_orca.out.gz", AttemptEvidence(True, None, None, 1)),
    ],
)
def test_real_outputs(orca_outputs, name, expected):
    assert read_evidence(orca_outputs / name) == expected
