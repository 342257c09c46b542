"""SCF, energy and gradient as ORCA 6.1 prints them, with tblite's own iterations and numbers."""

import numpy as np
import numpy.typing as npt

from oact_dagster.standin.engine import (
    DENSITY_TOLERANCE,
    ELECTRONIC_TEMPERATURE,
    ENERGY_TOLERANCE,
    MIXER_DAMPING,
    Iteration,
    SinglePoint,
)
from oact_dagster.standin.input_reader import InputRequest
from oact_dagster.standin.surrogate import electron_count
from oact_dagster.standin.units import HARTREE_IN_EV

Array = npt.NDArray[np.float64]


def _titled(title: str) -> list[str]:
    return ["-" * len(title), title, "-" * len(title)]


def _boxed(first: str, second: str) -> list[str]:
    stars = "*" * 53
    return [f"{'':15}{line}" for line in (stars, f"*{first}*", f"*{second}*", stars)]


def scf_settings(job: InputRequest, stem: str, n_basis_functions: int, description: str) -> str:
    """Return charge, multiplicity and electrons of the input, and what is computed instead."""
    return "\n".join(
        [
            *_titled("SCF SETTINGS"),
            "Hamiltonian:",
            " Semiempirical Method                   .... GFN2-xTB (tblite), NOT ORCA",
            f" Electronic temperature                 .... {ELECTRONIC_TEMPERATURE:.1f} K",
            f" Really computed                        .... {description}",
            "",
            "",
            "General Settings:",
            f" Integral files         IntName         .... {stem}",
            f" Hartree-Fock type      HFTyp           .... {'RHF' if job.multiplicity == 1 else 'UHF'}",
            f" Total Charge           Charge          .... {job.charge:4d}",
            f" Multiplicity           Mult            .... {job.multiplicity:4d}",
            f" Number of Electrons    NEL             .... {electron_count(job):4d}",
            f" Basis Dimension        Dim             .... {n_basis_functions:4d}",
            "",
            "SCF Procedure:",
            f" Maximum # iterations   MaxIter         .... {job.scf_max_iterations:5d}",
            "",
            "Convergence Tolerance:",
            f" Energy Change          TolE            .... {ENERGY_TOLERANCE:10.3e} Eh",
            f" RMS density change                     .... {DENSITY_TOLERANCE:10.3e}",
            "",
        ]
    )


def scf_head() -> str:
    """Return the head of the table of SCF iterations."""
    rule = "-" * 91
    return "\n".join(
        [
            rule,
            f"{'':38}ORCA LEAN-SCF",
            f"{'':24}(here: GFN2-xTB's SCF by tblite, NOT ORCA)",
            rule,
            "",
            f"{'S-C-F':-^91}",
            "Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     DIISErr   Damp  Time(sec)",
            rule,
        ]
    )


def scf_row(iteration: Iteration) -> str:
    """Return one row of the table. tblite reports neither the largest density change nor a DIIS error."""
    # ORCA's first change is zero; tblite's is the energy itself.
    change = 0.0 if iteration.number == 1 else iteration.energy_change
    return (
        f"{iteration.number:5d}{iteration.energy:20.12f}{change:17.2e}{iteration.density_change:10.2e}"
        f"       nan       nan{MIXER_DAMPING:7.3f}{iteration.seconds:6.1f}"
    )


def scf_success(evaluation: SinglePoint) -> str:
    """Return what follows the table of a converged SCF, up to the final energy."""
    energy, n = evaluation.energy, len(evaluation.iterations)
    lines = [
        f"{'':17}**** Energy Check signals convergence ****",
        "",
        *_boxed(f"{'':21}SUCCESS{'':23}", f"{'':11}SCF CONVERGED AFTER{n:4d} CYCLES{'':10}"),
        "",
        *_titled("TOTAL SCF ENERGY"),
        "",
        f"Total Energy       :{energy:26.14f} Eh {energy * HARTREE_IN_EV:22.5f} eV",
        "",
        *_titled("SCF CONVERGENCE"),
        "",
    ]
    if evaluation.iterations:
        last = evaluation.iterations[-1]
        change, density = last.energy_change, last.density_change
        lines += [
            f"  Last Energy change         ...  {change:12.4e}  Tolerance : {ENERGY_TOLERANCE:12.4e}",
            f"  Last RMS-Density change    ...  {density:12.4e}  Tolerance : {DENSITY_TOLERANCE:12.4e}",
        ]
    rule = "-------------------------   --------------------"
    return "\n".join([*lines, "", rule, f"FINAL SINGLE POINT ENERGY{energy:23.12f}", rule, ""])


def scf_failure(n_iterations: int) -> str:
    """Return what follows the table of an SCF that did not converge."""
    rule = "-" * 78
    text = (
        rule,
        f"{'':33}ERROR",
        "This wavefunction IS NOT CONVERGED!",
        "You can't use it for properties or numerical calculations !",
        "Aborting the run ...",
        "Please restart calculation (with larger maxiter/different convergence flags)",
        rule,
    )
    return "\n".join(
        [
            "",
            *_boxed(f"{'':22}ERROR{'':24}", f"{'':8}SCF NOT CONVERGED AFTER{n_iterations:4d} CYCLES{'':9}"),
            "",
            *(f"     {line}" for line in text),
            "",
        ]
    )


def gradient_section(symbols: tuple[str, ...], positions: Array, gradient: Array) -> str:
    """Return the Cartesian gradient (Eh/bohr) with its norm, root mean square and largest component.

    Positions (bohr) and gradient have shape (N, 3).
    """
    rule = "-" * 78
    lines = [rule, f"{'':25}ORCA SCF GRADIENT CALCULATION", rule, "", *_titled("CARTESIAN GRADIENT"), ""]
    for number, (symbol, (x, y, z)) in enumerate(zip(symbols, gradient, strict=True), start=1):
        lines.append(f"{number:4d}   {symbol:<4s}:{x:15.9f}{y:15.9f}{z:15.9f}")
    translation = gradient.sum(axis=0)
    rotation = np.cross(positions, gradient).sum(axis=0)
    for name, (x, y, z) in (("translation", translation), ("rotation", rotation)):
        lines += ["", f"Difference to {name} invariance:", f"           :{x:16.10f}{y:16.10f}{z:16.10f}"]
    return "\n".join(
        [
            *lines,
            "",
            f"Norm of the Cartesian gradient     ...{np.linalg.norm(gradient):16.10f}",
            f"RMS gradient                       ...{np.sqrt(np.mean(gradient**2)):16.10f}",
            f"MAX gradient                       ...{np.abs(gradient).max():16.10f}",
            "",
        ]
    )
