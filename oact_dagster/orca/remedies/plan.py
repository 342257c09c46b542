"""What an attempt changes against the campaign's settings, and what became of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.inputs.scf_method import ScfMethod
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.outputs.attempt_evidence import AttemptEvidence


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What the machine and the queue allow; None for what is not known, which then limits nothing.

    Attributes:
        memory_mb: Of a node, for all processes of one calculation.
        time_limit_s: The longest limit of one calculation in s (the queue's).
    """

    memory_mb: int | None = None
    time_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attempt changes against the campaign's settings; the default changes nothing.

    The fields stand on four axes that a step changes apart from each other: the SCF (``scf``, ``scf_maxiter``), memory
    and processes (``maxcore``, ``n_cores``), time (``time_limit_s``) and the start (``from_orbitals``,
    ``from_geometry``). None of them holds a threshold, a grid, a basis, a functional or a Hamiltonian.

    Attributes:
        remedy: Name of the step that led here; None for a plain first attempt.
        scf: How the SCF is brought to converge.
        scf_maxiter: Largest number of SCF iterations.
        maxcore: MB for each process.
        n_cores: MPI processes.
        time_limit_s: The calculation's limit in s.
        from_orbitals: Start from the last whole ``.gbw``.
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
        """Return the campaign's settings with the changes."""
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
        """Return the changes as JSON values, what is not changed left out."""
        if self == _PLAIN:
            return {}
        changed = {
            each.name for each in fields(self) if getattr(self, each.name) != getattr(_PLAIN, each.name)
        }
        return {name: value for name, value in asdict(self).items() if name in changed}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Plan":
        """Return what ``to_json`` gave; keys that are not known (those of a later version) are left out."""
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
    """An attempt that gave no result.

    Attributes:
        failure_class: Why; None where a ledger kept no class, which counts as aborted.
        plan: What it ran with.
        evidence: What its files tell for the next one.
        message: The line that says why it failed.
        n_cores: MPI processes that it really had, None where that is not known.
        maxcore: MB for each process that it really had, also where they were estimated.
        time_limit_s: The limit in s that it really had.
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
        """The class that decides on the ladder."""
        return self.failure_class or FailureClass.ABORTED
