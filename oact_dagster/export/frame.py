"""A frame of a training set: its numbers and the facts beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.outputs.evaluations import Vector

Value = str | int | None


@dataclass(frozen=True, slots=True)
class Field:
    """A fact given with each frame."""

    name: str
    kind: type[str] | type[int]
    about: str


FIELDS: Final[tuple[Field, ...]] = (
    Field("charge", int, "total charge, e"),
    Field("multiplicity", int, "spin multiplicity, 2S + 1"),
    Field("campaign", str, "name of the campaign"),
    Field("orig_index", int, "the structure: data row of the CSV, from 0"),
    Field("attempt", int, "number of the attempt that computed it, from 1"),
    Field("step", int, "index of this gradient in the output, from 0"),
    Field("n_steps", int, "gradients in the output"),
    Field("host", str, "host that computed it"),
    Field("engine", str, "program that computed it"),
    Field("engine_version", str, "version of that program"),
    Field("warning", str, "why its numbers must not be used for training"),
    Field("remedy", str, "what the attempt changed after earlier ones failed; never the level of theory"),
    Field("failed_checks", str, "rules that the structure failed, separated by commas"),
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
"""The facts given with each frame; None if not known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A geometry with its energy and forces from one gradient evaluation."""

    symbols: tuple[str, ...]
    positions: tuple[Vector, ...]
    """n_atoms times (x, y, z), Å."""
    energy: float
    """eV"""
    forces: tuple[Vector, ...]
    """n_atoms times (x, y, z), eV/Å."""
    fields: Mapping[str, Value]
    """Facts by the names in :data:`FIELDS`."""
    annotations: Mapping[str, str]
    """The structure's values in the CSV, by the keys of ``About.columns``."""


@dataclass(frozen=True, slots=True)
class About:
    """Facts common to all frames of a file."""

    campaign: str
    level_of_theory: str
    """JSON."""
    version: str
    warning: str | None
    """Why the numbers must not be used for training; None if they may be."""
    columns: Mapping[str, str]
    """Exported columns of the CSV: their names by their keys in the file."""
