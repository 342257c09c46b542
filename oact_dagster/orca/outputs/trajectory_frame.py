"""One frame of a trajectory, in ASE's units."""

from typing import NamedTuple

from oact_dagster.orca.outputs.evaluations import Vector


class TrajectoryFrame(NamedTuple):
    """A geometry with its energy and forces."""

    symbols: tuple[str, ...]
    coordinates_angstrom: tuple[Vector, ...]
    """n_atoms times (x, y, z), Å."""
    energy_ev: float | None
    forces_ev_per_angstrom: tuple[Vector, ...] | None
    """n_atoms times (x, y, z), eV/Å, or None."""
