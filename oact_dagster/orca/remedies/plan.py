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
    """Limits of the machine and the queue; None where a limit is not known and so not applied.

    Attributes:
        memory_mb: Memory of a node in MB, for all processes of one calculation.
        time_limit_s: The queue's longest time limit for one calculation, in s.
    """

    memory_mb: int | None = None
    time_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attempt changes in the campaign's settings; the default changes nothing.

    The fields form four independent groups: the SCF (``scf``, ``scf_maxiter``), memory and processes (``maxcore``,
    ``n_cores``), time (``time_limit_s``) and the start (``from_orbitals``, ``from_geometry``). No field holds a
    threshold, a grid, a basis, a functional or a Hamiltonian.

    Attributes:
        remedy: Name of the step that made this plan; None for a plain first attempt.
        scf: SCF convergence method.
        scf_maxiter: Largest number of SCF iterations.
        maxcore: Memory of each process in MB.
        n_cores: MPI processes.
        time_limit_s: Time limit of the calculation in s.
        from_orbitals: Start from the last complete ``.gbw``.
        from_geometry: Start from the last geometry.
    """

    remedy: str | None = None
    scf: ScfMethod | None = None
    scf_maxiter: int | None = None
    maxcore: int | None = None
    n_cores: int | None = None
    time_limit_s: float | None = None
    from_orbitals: bool = False
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
    """A past attempt that gave no result.

    Attributes:
        failure_class: Why it failed; None if the ledger has no class, which counts as aborted.
        evidence: What its files tell about the next attempt.
        n_cores: MPI processes that it actually had; None if not known.
        maxcore: Memory in MB that each process actually had, given or estimated.
        time_limit_s: Time limit in s that it actually had.
    """

    failure_class: FailureClass | None
    plan: Plan
    evidence: AttemptEvidence = field(default_factory=AttemptEvidence)
    message: str = ""
    n_cores: int | None = None
    maxcore: int | None = None
    time_limit_s: float | None = None

    @property
    def failed_as(self) -> FailureClass:
        """Failure class that selects the ladder."""
        return self.failure_class or FailureClass.ABORTED
