"""An attempt's plan: what it changes in the campaign's settings; and a past attempt with its outcome."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.inputs.scf_method import ScfMethod
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.outputs.attempt_evidence import AttemptEvidence


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits of the machine and the queue; None where a limit is not known and so not applied."""

    memory_mb: int | None = None
    """Memory of a node in MB, for all processes of one calculation."""
    time_limit_s: float | None = None
    """The queue's longest time limit for one calculation, in s."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attempt changes in the campaign's settings; the default changes nothing.

    The fields form four independent groups: the SCF (``scf``, ``scf_maxiter``), memory and processes (``maxcore``,
    ``n_cores``), time (``time_limit_s``) and the start (``from_orbitals``, ``from_geometry``). No field holds a
    threshold, a grid, a basis, a functional or a Hamiltonian.
    """

    remedy: str | None = None
    """Name of the step that made this plan; None for a plain first attempt."""
    scf: ScfMethod | None = None
    scf_maxiter: int | None = None
    maxcore: int | None = None
    """Memory of each process in MB."""
    n_cores: int | None = None
    time_limit_s: float | None = None
    from_orbitals: bool = False
    """Start from the last complete ``.gbw``."""
    from_geometry: bool = False

    def settings(self, base: InputSettings) -> InputSettings:
        """Return the campaign's settings with the plan's changes."""
        scf = self.scf
        if self.from_orbitals:
            scf = replace(scf or base.scf_method, restart=True)
        return replace(
            base,
            scf=base.scf if scf is None else scf,
            scf_maxiter=base.scf_maxiter if self.scf_maxiter is None else self.scf_maxiter,
            maxcore=base.maxcore if self.maxcore is None else self.maxcore,
            n_cores=base.n_cores if self.n_cores is None else self.n_cores,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the changed fields as JSON values."""
        if self == _PLAIN:
            return {}
        changed = {
            each.name for each in fields(self) if getattr(self, each.name) != getattr(_PLAIN, each.name)
        }
        return {name: value for name, value in asdict(self).items() if name in changed}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Plan":
        """Return a plan from the output of ``to_json``; unknown keys (of a later version) are ignored."""
        known = {each.name: raw[each.name] for each in fields(cls) if each.name in raw}
        if known.get("scf") is not None:
            scf = known["scf"]
            known["scf"] = ScfMethod(
                **{each.name: scf[each.name] for each in fields(ScfMethod) if each.name in scf}
            )
        return cls(**known)


_PLAIN: Final = Plan()


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """A past attempt that gave no result."""

    failure_class: FailureClass | None
    """Why it failed; None if the ledger has no class, which counts as aborted."""
    plan: Plan
    evidence: AttemptEvidence = field(default_factory=AttemptEvidence)
    """What its files tell about the next attempt."""
    message: str = ""
    n_cores: int | None = None
    """MPI processes that it actually had; None if not known."""
    maxcore: int | None = None
    """Memory in MB that each process actually had, given or estimated."""
    time_limit_s: float | None = None
    """Time limit in s that it actually had."""

    @property
    def failed_as(self) -> FailureClass:
        """Failure class that selects the ladder."""
        return self.failure_class or FailureClass.ABORTED
