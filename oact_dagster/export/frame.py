"""One frame of a training set, and what stands beside its numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.outputs.evaluations import Vector

Value = str | int | None


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that each frame says of itself."""

    name: str
    kind: type[str] | type[int]
    about: str


FIELDS: Final[tuple[Field, ...]] = (
    Field("charge", int, "total charge, e"),
    Field("multiplicity", int, "spin multiplicity, 2S + 1"),
    Field("campaign", str, "name of the campaign"),
    Field("orig_index", int, "the structure: data row of the CSV, from 0"),
    Field("attempt", int, "number of the attempt that computed it, from 1"),
    Field("step", int, "place of this gradient among those of the output, from 0"),
    Field("n_steps", int, "gradients in the output"),
    Field("host", str, "where it was computed"),
    Field("engine", str, "program that computed it"),
    Field("engine_version", str, "its version"),
    Field("warning", str, "why its numbers are not to be learnt from"),
    Field("remedy", str, "what the attempt changed after earlier ones had failed; the level of theory stays"),
    Field("failed_checks", str, "rules that the structure has failed, separated by commas"),
    Field("functional", str, "density functional"),
    Field("actinide_basis", str, "basis of actinides"),
    Field("actinide_ecp", str, "effective core potential of actinides"),
    Field("non_actinide_basis", str, "basis of all other elements"),
    Field("hamiltonian", str, "relativistic Hamiltonian"),
    Field("level_of_theory", str, "the whole level of theory, JSON"),
    Field("input_hash", str, "hash of what the input computes"),
    Field("settings_hash", str, "hash of the settings that the input was made with"),
    Field("oact_dagster_version", str, "version of the program that wrote this"),
)
"""What each frame says beside its numbers; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A geometry, and the energy and forces that were computed at it, by one gradient evaluation."""

    symbols: tuple[str, ...]
    """n_atoms element symbols."""
    positions: tuple[Vector, ...]
    """n_atoms times (x, y, z), Å."""
    energy: float
    """eV"""
    forces: tuple[Vector, ...]
    """n_atoms times (x, y, z), eV/Å."""
    fields: Mapping[str, Value]
    """By the names of :data:`FIELDS`."""
    annotations: Mapping[str, str]
    """What the CSV says of the structure, by the keys of :class:`About`."""


@dataclass(frozen=True, slots=True)
class About:
    """What is the same for all frames of a file."""

    campaign: str
    level_of_theory: str
    """JSON."""
    version: str
    """Of oact_dagster."""
    warning: str | None
    """Why the numbers are not to be learnt from; None where they may be."""
    columns: Mapping[str, str]
    """Columns of the CSV that are written: by the key that each gets in the file, its name there."""
