"""What ORCA computes."""

from typing import Literal

from pydantic import Field, field_validator

from oact_dagster.settings.base import Settings, Whole


class OrcaSettings(Settings):
    """What ORCA computes, and which ORCA."""

    command: str = Field(
        description="absolute path of the orca program (or a name on PATH), or 'standin' for the stand-in engine"
    )
    functional: str = "wB97M-V"
    simple_input: Literal["omol", "x2c", "dk3"] = "omol"
    actinide_basis: str | None = None
    actinide_ecp: str | None = None
    non_actinide_basis: str = "def2-TZVPD"
    scf_maxiter: Whole | None = Field(default=None, ge=1)
    nbo: bool = False
    mbis: bool = False
    kdiis: bool = False
    opt: bool = False
    uks_singlet: bool = False
    n_cores: Whole = Field(default=4, ge=1, description="cores of one calculation (%pal nprocs)")
    maxcore: Whole | None = Field(default=None, ge=100, description="MB for each process; null estimates it")
    extra_lines: tuple[str, ...] = ()

    @field_validator("command")
    @classmethod
    def _command_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give the absolute path of orca, or standin")
        return value
