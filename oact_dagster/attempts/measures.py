"""What the quality rules need of an output, measured while it is at hand."""

from oact_dagster.errors import GeometryError
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.outputs.reader import Output, Termination
from oact_dagster.quality.bonds import BondChange, bond_change


def scf_converged(output: Output) -> bool | None:
    """Whether the last SCF converged; None for an output without any."""
    if output.scf_cycles_total is None:
        return None
    if output.termination is Termination.SCF_NOT_CONVERGED or energy_flag(output) is not None:
        return False
    # What did not converge before an SCF that did was no more than a step on the way.
    return bool(output.scf_cycles_per_scf)


def energy_flag(output: Output) -> str | None:
    """What ORCA puts behind the energy, or behind that of the last gradient, where it is not fully converged."""
    evaluation = output.evaluation
    return output.final_energy_flag or (evaluation.energy_flag if evaluation is not None else None)


def bonds_of(output: Output, geometry: str) -> BondChange | None:
    """What became of the bonds of a structure's metals, by the geometry of the last gradient.

    Args:
        output: of its attempt.
        geometry: of the structure, ``El x y z`` lines in Å.

    Returns:
        None where that cannot be said, see ``bond_change``.
    """
    if not geometry or output.symbols is None or output.coordinates is None:
        return None
    try:
        former = parse_geometry(geometry)
    except GeometryError:
        return None
    if former.symbols != output.symbols:
        return None
    return bond_change(former.symbols, former.coordinates, output.coordinates)
