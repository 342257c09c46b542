"""A geometry optimisation as ORCA 6.1 prints it: settings, cycles, convergence tables and how it ended."""

from oact_dagster.standin.relaxation import RelaxationStep, Tolerances


def settings(tolerances: Tolerances, max_cycles: int) -> str:
    """Return the settings of an optimisation."""
    t = tolerances
    return "\n".join(
        [
            "Geometry optimization settings:",
            "Update method            Update   .... BFGS",
            "Choice of coordinates    CoordSys .... Cartesian",
            "Initial Hessian          InHess   .... Lindh's stretches",
            f"Max. no of cycles        MaxIter  .... {max_cycles}",
            "",
            "Convergence Tolerances:",
            f"Energy Change            TolE     .... {t.energy:11.4e} Eh",
            f"Max. Gradient            TolMAXG  .... {t.max_gradient:11.4e} Eh/bohr",
            f"RMS Gradient             TolRMSG  .... {t.rms_gradient:11.4e} Eh/bohr",
            f"Max. Displacement        TolMAXD  .... {t.max_step:11.4e} bohr",
            f"RMS Displacement         TolRMSD  .... {t.rms_step:11.4e} bohr",
            "Strict Convergence                .... True",
            "",
        ]
    )


def cycle_head(cycle: int) -> str:
    """Return the box at the start of an optimisation cycle."""
    stars = "*" * 61
    return "\n".join(
        [
            "",
            f"{'':9}{stars}",
            f"{'':9}*                GEOMETRY OPTIMIZATION CYCLE {cycle:3d}            *",
            f"{'':9}{stars}",
        ]
    )


def step_section(step: RelaxationStep) -> str:
    """Return the convergence table of one cycle."""
    rule = "-" * 78
    lines = [
        rule,
        f"{'':25}ORCA GEOMETRY RELAXATION STEP",
        rule,
        "",
        f"{'':32}.--------------------.",
        f"{'':10}----------------------|Geometry convergence|-------------------------",
        f"{'':10}Item                value                   Tolerance       Converged",
        f"{'':10}{'-' * 69}",
    ]
    for criterion in step.criteria:
        lines.append(
            f"{'':10}{criterion.name:<13s}{criterion.value:19.10f}{criterion.tolerance:24.10f}"
            f"      {'YES' if criterion.met else 'NO'}"
        )
    return "\n".join([*lines, f"{'':10}{'-' * 73}", ""])


def more_cycles() -> str:
    """Return the line after a cycle that is not the last."""
    return "The optimization has not yet converged - more geometry cycles are needed\n"


def converged(cycles: int) -> str:
    """Return the end of a converged optimisation and the head of the energy at its last geometry."""
    stars = "*" * 55
    return "\n".join(
        [
            "",
            f"{'':20}***********************HURRAY********************",
            f"{'':20}***        THE OPTIMIZATION HAS CONVERGED     ***",
            f"{'':20}*************************************************",
            "",
            f"{'':17}{stars}",
            f"{'':17}*** FINAL ENERGY EVALUATION AT THE STATIONARY POINT ***",
            f"{'':17}***               (AFTER {cycles:4d} CYCLES)               ***",
            f"{'':17}{stars}",
        ]
    )


def run_done() -> str:
    """Return the line after the last energy of a converged optimisation."""
    return f"{'':32}*** OPTIMIZATION RUN DONE ***\n"


def not_converged() -> str:
    """Return the warning after an optimisation that used up its cycles; ORCA then ends normally."""
    rule = "-" * 76
    return "\n".join(
        [
            f"{'':4}{rule}",
            f"{'':32}WARNING !!!",
            "       The optimization did not converge but reached the maximum number of",
            "       optimization cycles.",
            "       Please check your results very carefully.",
            f"{'':4}{rule}",
            "",
        ]
    )
