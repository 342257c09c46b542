"""The section ``orca``: the calculation, and the ORCA program that runs it."""

from typing import Literal

from pydantic import Field, field_validator

from oact_dagster.orca.inputs.templates import DEFAULT_MAXITER
from oact_dagster.settings.base import Settings, Whole


class OrcaSettings(Settings):
    """The calculation, and the ORCA program that runs it."""

    command: str = Field(
        description="absolute path of the orca program, its name on PATH, or standin (NOT ORCA: for trying things out)"
    )
    functional: str = Field(
        default="wB97M-V",
        description='functional, as ORCA names it, perhaps with more keywords, such as "PBE0 D4"',
    )
    simple_input: Literal["omol", "x2c", "dk3"] = Field(
        default="omol", description="template: omol (core potentials), x2c or dk3 (all electrons)"
    )
    actinide_basis: str | None = Field(
        default=None,
        description="basis of actinides, a name or a file (.bas, .gbs); null: the template's, which x2c and dk3 lack",
    )
    actinide_ecp: str | None = Field(
        default=None,
        description="core potential of actinides; null: the template's, def-ECP with omol and none with x2c and dk3",
    )
    non_actinide_basis: str = Field(
        default="def2-TZVPD", description="basis of all other elements, a name or a file"
    )
    scf_maxiter: Whole | None = Field(
        default=None, ge=1, description=f"most SCF iterations; null: the template's {DEFAULT_MAXITER}"
    )
    nbo: bool = Field(default=False, description="natural bond orbitals (needs the NBO program)")
    mbis: bool = Field(default=False, description="MBIS charges")
    kdiis: bool = Field(default=False, description="KDIIS instead of DIIS")
    opt: bool = Field(default=False, description="optimise the geometry; false: one energy and gradient")
    uks_singlet: bool = Field(default=False, description="broken-symmetry start for singlets")
    n_cores: Whole = Field(default=4, ge=1, description="cores of one calculation")
    maxcore: Whole | None = Field(
        default=None,
        ge=100,
        description="memory of each process (%maxcore), MB; null: estimated from the basis",
    )
    extra_lines: tuple[str, ...] = Field(
        default=(), description='lines to add to the input, such as ["%geom MaxIter 99 end"]'
    )

    @field_validator("command")
    @classmethod
    def _command_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give the absolute path of orca, or standin")
        return value
