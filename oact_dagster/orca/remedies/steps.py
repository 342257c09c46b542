"""The steps of the remedy ladders. Each changes one thing about the next attempt, and never the level of theory.

A step returns the plan of the next attempt, or a few words on why it does not apply. It sets only its own fields; the
others stay as in the last attempt: after running out of memory under SlowConv, the next attempt still has SlowConv.
To add a step, write a function of ``Situation`` and add a row to ``STEPS``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from oact_dagster.orca.failures import FailureClass, Fault
from oact_dagster.orca.inputs.scf_method import ScfMethod
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.inputs.writer import maxcore_of
from oact_dagster.orca.remedies.plan import PastAttempt, Plan, ResourceLimits
from oact_dagster.orca.remedies.restart import Leftovers
from oact_dagster.orca.structure import Structure

MEMORY_ON_TOP_MB: Final = 500
"""MB added to what ORCA asks for, which is only what it needed at the place where it stopped."""

MEMORY_FACTOR: Final = 1.5
"""Factor by which memory grows if ORCA names no number."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a step bases its decision on."""

    base: InputSettings
    structure: Structure
    attempts: tuple[PastAttempt, ...]
    """The failed attempts, oldest first; at least one."""
    left: Leftovers
    """What there is to restart from; nothing after an unphysical energy, which its orbitals would give again."""
    limits: ResourceLimits
    time_limit_s: float
    """The campaign's time limit for one calculation, in s."""

    @property
    def last(self) -> PastAttempt:
        """The last attempt, which needs the remedy."""
        return self.attempts[-1]

    @property
    def failure(self) -> FailureClass:
        """Failure class of the last attempt."""
        return self.last.failed_as

    @property
    def closed_shell(self) -> bool:
        """Whether both spins have the same orbitals."""
        return self.structure.uhf == 0 and not self.base.uks_singlet

    @property
    def geometry_left(self) -> bool:
        """Whether an optimisation has a geometry to continue from. A single point always uses the given one."""
        return self.base.opt and self.left.geometry is not None

    @property
    def n_cores(self) -> int:
        """MPI processes of the last attempt."""
        return self.last.n_cores or self.last.plan.settings(self.base).n_cores

    @property
    def maxcore(self) -> int:
        """Memory of each process of the last attempt, in MB."""
        return self.last.maxcore or maxcore_of(self.structure, self.last.plan.settings(self.base))

    @property
    def limit_s(self) -> float:
        """Time limit of the last attempt, in s."""
        return self.last.time_limit_s or self.last.plan.time_limit_s or self.time_limit_s

    def kept(self) -> Plan:
        """Return the last attempt's plan, without orbitals or geometry that are no longer there."""
        return replace(
            self.last.plan,
            from_orbitals=self.last.plan.from_orbitals and self.left.gbw is not None,
            from_geometry=self.last.plan.from_geometry and self.geometry_left,
        )

    def from_what_is_left(self, plan: Plan) -> Plan:
        """Return the plan, restarting from whatever is left."""
        return replace(plan, from_orbitals=self.left.gbw is not None, from_geometry=self.geometry_left)

    def scf_of(self, plan: Plan) -> tuple[ScfMethod, int]:
        """Return a plan's SCF convergence method and largest number of iterations."""
        settings = plan.settings(self.base)
        return settings.scf_method, settings.scf_iterations


Change = Callable[[Situation], Plan | str]


@dataclass(frozen=True, slots=True)
class RemedyStep:
    """One step of a ladder."""

    name: str
    """Name used in ladders and as the attempt's remedy."""
    description: str
    change: Change
    """Returns the next attempt's plan, or why the step does not apply."""
    needs_leftovers: bool = False
    """Whether it starts from what an earlier attempt left, which is forbidden after an unphysical energy."""
    changes_scf: bool = False
    """Whether it only changes how the SCF converges, which cannot help if no SCF ran."""


def _again(now: Situation) -> Plan | str:
    if _lacks_memory_for_integrals(now):
        return "the integrals need more memory"
    return now.kept()


def _restart(now: Situation) -> Plan | str:
    if not now.last.evidence.near_convergence:
        return "the SCF was not near convergence"
    if now.left.gbw is None:
        return "no whole .gbw is left"
    _, iterations = now.scf_of(now.last.plan)
    return now.from_what_is_left(replace(now.last.plan, scf_maxiter=2 * iterations))


def _with_method(change: Callable[[ScfMethod], ScfMethod], *, closed_shell_only: bool = False) -> Change:
    """Return a step that makes one change to the settings' SCF method and starts from a fresh guess.

    An optimisation continues from its last geometry.
    """

    def step(now: Situation) -> Plan | str:
        if closed_shell_only and not now.closed_shell:
            return "it is for closed shells"
        plain = replace(now.base.scf_method, restart=False)
        method = change(plain)
        if method == plain:
            return "the settings have it already"
        plan = replace(
            now.last.plan, scf=method, scf_maxiter=None, from_orbitals=False, from_geometry=now.geometry_left
        )
        if not plan.from_geometry and any(
            now.scf_of(past.plan) == now.scf_of(plan) and not past.plan.from_geometry
            for past in now.attempts
            if past.failed_as.facts.fault is Fault.SCF
        ):
            return "that failed already"
        return plan

    return step


def _soscf(plain: ScfMethod) -> ScfMethod:
    return plain if plain.accelerator == "TRAH" else replace(plain, soscf=True)


def _continue_geometry(now: Situation) -> Plan | str:
    if not now.base.opt:
        return "the settings do not ask for an optimisation"
    if now.left.geometry is None:
        return "no geometry with a gradient is left"
    return now.from_what_is_left(now.last.plan)


def _lacks_memory_for_integrals(now: Situation) -> bool:
    """Return whether the last attempt aborted in the integrals, where a lack of memory shows as an abort."""
    error_in = now.last.evidence.error_in or ""
    return now.failure is FailureClass.ABORTED and "gtoint" in error_in.lower()


def _memory_needed(now: Situation) -> int | str:
    """Return the memory in MB for each process of the next attempt, or why more memory does not help."""
    if now.failure is FailureClass.ABORTED and not _lacks_memory_for_integrals(now):
        return "nothing points to a lack of memory"
    had, asked = now.maxcore, now.last.evidence.memory_asked_mb
    if asked is not None and asked + MEMORY_ON_TOP_MB > had:
        return asked + MEMORY_ON_TOP_MB
    # ORCA already had what it asks for, so it needs more than it says.
    return math.ceil(MEMORY_FACTOR * had)


def _more_memory(now: Situation) -> Plan | str:
    needed = _memory_needed(now)
    if isinstance(needed, str):
        return needed
    room = now.limits.memory_mb
    if room is not None and needed * now.n_cores > room:
        processes = "one process needs" if now.n_cores == 1 else f"{now.n_cores} processes need"
        return f"{processes} {needed} MB{' each' if now.n_cores > 1 else ''}, but the node has {room} MB"
    return replace(now.kept(), maxcore=needed)


def _fewer_processes(now: Situation) -> Plan | str:
    needed = _memory_needed(now)
    if isinstance(needed, str):
        return needed
    room = now.limits.memory_mb
    if room is None:
        return "the node's memory is not known"
    fit = room // needed
    if fit < 1:
        return f"one process needs {needed} MB, but the node has {room} MB"
    if fit >= now.n_cores:
        return "all processes fit"
    return replace(now.kept(), maxcore=needed, n_cores=fit)


def _longer_limit(now: Situation) -> Plan | str:
    had, longest = now.limit_s, now.limits.time_limit_s
    longer = 2 * had if longest is None else min(2 * had, longest)
    if longer <= had:
        return f"the limit of {had / 3600:.3g} h is already the longest"
    return now.from_what_is_left(replace(now.last.plan, time_limit_s=longer))


def _restart_in_limit(now: Situation) -> Plan | str:
    plan = now.from_what_is_left(now.last.plan)
    if not plan.from_orbitals and not plan.from_geometry:
        return "nothing is left to start from"
    return plan


STEPS: Final[Mapping[str, RemedyStep]] = MappingProxyType(
    {
        step.name: step
        for step in (
            RemedyStep("again", "Run the same once more.", _again),
            RemedyStep(
                "restart",
                "Restart from the orbitals of an SCF that was near convergence, with twice the iterations.",
                _restart,
                needs_leftovers=True,
            ),
            RemedyStep(
                "slowconv",
                "SlowConv instead of NormalConv: more damping.",
                _with_method(lambda plain: replace(plain, damping="SlowConv")),
                changes_scf=True,
            ),
            RemedyStep(
                "veryslowconv",
                "VerySlowConv instead of NormalConv: still more damping.",
                _with_method(lambda plain: replace(plain, damping="VerySlowConv")),
                changes_scf=True,
            ),
            RemedyStep(
                "kdiis",
                "KDIIS instead of DIIS.",
                # This also replaces TRAH, which never has another accelerator beside it.
                _with_method(lambda plain: replace(plain, accelerator="KDIIS")),
                changes_scf=True,
            ),
            RemedyStep(
                "soscf",
                "SOSCF instead of NOSOSCF, for closed shells only.",
                _with_method(_soscf, closed_shell_only=True),
                changes_scf=True,
            ),
            RemedyStep(
                "trah",
                "TRAH, the second-order SCF, instead of DIIS and NoTRAH.",
                _with_method(lambda plain: replace(plain, accelerator="TRAH", soscf=False)),
                changes_scf=True,
            ),
            RemedyStep(
                "continue_geometry",
                "Continue an optimisation from its last geometry and orbitals.",
                _continue_geometry,
                needs_leftovers=True,
            ),
            RemedyStep(
                "more_memory", "What ORCA asks for plus 500 MB, or 1.5 times what it had.", _more_memory
            ),
            RemedyStep(
                "fewer_processes",
                "More memory for each process, and as many processes as then fit on the node.",
                _fewer_processes,
            ),
            RemedyStep(
                "longer_limit",
                "Twice the time, up to the queue's limit; restart from the last orbitals and geometry.",
                _longer_limit,
            ),
            RemedyStep(
                "restart_in_limit",
                "The same time; restart from the last orbitals and geometry.",
                _restart_in_limit,
                needs_leftovers=True,
            ),
        )
    }
)
