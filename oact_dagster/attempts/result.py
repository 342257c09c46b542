"""Results: the numbers of an output as the ledger keeps them, with what the quality rules need."""

from pathlib import Path

from oact_dagster.attempts.engine import engine_of
from oact_dagster.errors import GeometryError
from oact_dagster.launchers.attempt_files import OUTPUT_FILE
from oact_dagster.ledger.states import Result
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.outputs.convergence import read_convergence
from oact_dagster.orca.outputs.reader import Output, Termination
from oact_dagster.quality.bonds import BondChange, bond_change


def result_of(output: Output, folder: Path, natoms: int, elapsed: float | None, geometry: str = "") -> Result:
    """Return the content of an output as the ledger keeps it.

    ``elapsed`` (s) replaces a wall time that the output lacks. ``geometry`` is that of the structure, as ``El x y z``
    lines in Å, with which the bonds of its metals are compared.
    """
    engine, version = engine_of(output)
    bonds = _bonds_of(output, geometry)
    return Result(
        final_energy=output.final_energy,
        max_forces=output.max_abs_gradient_component,
        max_atom_force_norm=output.max_atom_force_norm,
        scf_steps=output.scf_cycles_total,
        wall_time=output.wall_time_s if output.wall_time_s is not None else elapsed,
        n_cores=output.n_cores,
        engine=engine,
        engine_version=version,
        output_file=str(folder / OUTPUT_FILE),
        s2=output.s2,
        opt_cycles=output.opt_cycles,
        n_atoms=natoms,
        terminated_normally=output.terminated_normally,
        scf_converged=_scf_converged(output),
        opt_converged=output.opt_converged,
        energy_flag=_energy_flag(output),
        charge=output.charge,
        mult=output.mult,
        bonds_before=None if bonds is None else bonds.before,
        bond_stretch=None if bonds is None else round(bonds.stretch, 6),
        stretched_bond=None if bonds is None else bonds.bond,
        metals_alone=None if bonds is None else bonds.alone,
        convergence={} if output.file is None else read_convergence(output.file).to_json(),
    )


def _scf_converged(output: Output) -> bool | None:
    """Return whether the last SCF converged; None for an output without any SCF."""
    if output.scf_cycles_total is None:
        return None
    if output.termination is Termination.SCF_NOT_CONVERGED or _energy_flag(output) is not None:
        return False
    # An SCF that did not converge does not matter if a later one did.
    return bool(output.scf_cycles_per_scf)


def _energy_flag(output: Output) -> str | None:
    """Return the suffix that ORCA prints after a final or gradient energy that is not fully converged."""
    evaluation = output.evaluation
    return output.final_energy_flag or (evaluation.energy_flag if evaluation is not None else None)


def _bonds_of(output: Output, geometry: str) -> BondChange | None:
    """Return the change of the metals' bonds up to the last gradient; None if unknown, see ``bond_change``."""
    if not geometry or output.symbols is None or output.coordinates is None:
        return None
    try:
        former = parse_geometry(geometry)
    except GeometryError:
        return None
    if former.symbols != output.symbols:
        return None
    return bond_change(former.symbols, former.coordinates, output.coordinates)
