"""The quality rules for a completed structure's result.

The breach of a rule is 0 if the rule holds, positive if it is broken (larger is worse), and None if the quantity was
not measured. Rules over a whole campaign are in ``status.quality``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from oact_dagster.quality.limits import QualityLimits
from oact_dagster.quality.measurements import Measured

ENERGY_FLOOR: Final = 0.05
"""Eh of a whole structure; smaller deviations are never flagged, however narrow the spread. Conformers and most isomers
of a complex lie within 30 kcal/mol of each other; a lost ligand, a wrong charge or another electronic state costs more.
"""


class Severity(StrEnum):
    """How much a broken rule matters."""

    ERROR = "error"
    """The result is invalid."""
    WARNING = "warning"
    """Somebody should look at the result."""


@dataclass(frozen=True, slots=True)
class QualityRule:
    """A rule that a completed structure must meet."""

    name: str
    severity: Severity
    description: str
    """What must hold, with ``{limit}`` for the limit."""
    breach: Callable[[Measured, float], float | None]
    """Returns how badly the rule is broken, from the measurements and the limit (0 for a rule without one)."""
    told: Callable[[Measured, float], str]
    """Returns the measured value in words, with its unit and the limit. Called only if there is a value."""
    setting: str | None = None
    """The limit's name in :class:`QualityLimits`."""
    unjudged: str = "not measured"
    """Text for a structure that the rule cannot judge."""

    def limit(self, limits: QualityLimits) -> float | None:
        """Return the limit; 0 for a rule without one, None if the rule is switched off."""
        if self.setting is None:
            return 0.0
        value = getattr(limits, self.setting)
        return None if value is None else float(value)

    def described(self, limits: QualityLimits) -> str:
        """Return the description with the limit in force."""
        limit = self.limit(limits)
        return self.description.format(limit="-" if limit is None else f"{limit:g}")


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of one rule for one structure."""

    rule: str
    severity: Severity
    passed: bool | None
    """None if the rule could not be judged."""
    text: str
    """The measured value with its unit and the limit, or why there is none."""


def rules_in_force(limits: QualityLimits) -> tuple[QualityRule, ...]:
    """Return the rules that are not switched off."""
    return tuple(rule for rule in QUALITY_RULES if rule.limit(limits) is not None)


def apply_rules(measured: Measured, limits: QualityLimits) -> tuple[RuleResult, ...]:
    """Return the result of each rule in force for a structure."""
    verdicts = []
    for rule in rules_in_force(limits):
        limit = rule.limit(limits) or 0.0
        found = rule.breach(measured, limit)
        text = rule.unjudged if found is None else rule.told(measured, limit)
        verdicts.append(RuleResult(rule.name, rule.severity, None if found is None else found <= 0, text))
    return tuple(verdicts)


def _flag(name: str) -> Callable[[Measured, float], float | None]:
    def breach(measured: Measured, _: float) -> float | None:
        value = measured.result.get(name)
        return None if value is None else float(not value)

    return breach


def _says(name: str, good: str, bad: str) -> Callable[[Measured, float], str]:
    return lambda measured, _: good if measured.result.get(name) else bad


def _scf(measured: Measured, _: float) -> float | None:
    if measured.result.get("energy_flag"):
        return 1.0
    value = measured.result.get("scf_converged")
    return None if value is None else float(not value)


def _scf_told(measured: Measured, _: float) -> str:
    flag = measured.result.get("energy_flag")
    if flag:
        return f"the energy is marked {flag}"
    return "SCF converged" if measured.result.get("scf_converged") else "SCF not converged"


def above(value: float | None, limit: float) -> float | None:
    """Return how far a number is above a limit, relative to the limit; infinite for a number that is not finite."""
    if value is None:
        return None
    if not math.isfinite(value):
        return math.inf
    return max(0.0, value - limit) / limit


def _forces(measured: Measured, limit: float) -> float | None:
    return above(measured.max_gradient, limit)


def _forces_told(measured: Measured, limit: float) -> str:
    return f"largest gradient component {measured.max_gradient:.4g} Eh/bohr (limit {limit:g} Eh/bohr)"


def _spin(measured: Measured, limit: float) -> float | None:
    return above(measured.spin_contamination, limit)


def _spin_told(measured: Measured, limit: float) -> str:
    return (
        f"<S²> {measured.number('s2'):.4f}, {measured.spin_contamination:.4f} from {measured.ideal_s2:g} for"
        f" multiplicity {measured.multiplicity} (limit {limit:g})"
    )


def energy_breach(sigmas: float, total: float, limit: float) -> float:
    """Return how badly an energy is off; 0 if it is not.

    ``sigmas`` and ``limit`` are in robust standard deviations, ``total`` in Eh for the whole structure.
    """
    if math.isnan(total):
        return math.inf
    return max(0.0, abs(sigmas) - limit) if abs(total) > ENERGY_FLOOR else 0.0


def _energy(measured: Measured, limit: float) -> float | None:
    found = measured.deviation
    return None if found is None else energy_breach(found.sigmas, found.total, limit)


def _energy_told(measured: Measured, limit: float) -> str:
    assert measured.deviation is not None
    sigmas, total = measured.deviation.sigmas, measured.deviation.total
    if math.isnan(total):
        return f"energy {measured.energy} Eh"
    way = "above" if total > 0 else "below"
    return (
        f"energy {abs(total):.4g} Eh {way} that of similar structures, {abs(sigmas):.3g} robust standard deviations"
        f" (limits {limit:g}, and {ENERGY_FLOOR:g} Eh)"
    )


def _bound(measured: Measured, limit: float) -> float | None:
    stretch = measured.number("bond_stretch")
    if stretch is None:
        return None
    alone = float(measured.result.get("metals_alone") or 0)
    return (above(stretch, limit) or 0.0) + alone


def _bound_told(measured: Measured, limit: float) -> str:
    bond, stretch = measured.result.get("stretched_bond"), measured.number("bond_stretch")
    alone = measured.result.get("metals_alone")
    more = f"; {alone} metal{'' if alone == 1 else 's'} without any neighbour left" if alone else ""
    return f"{bond} is {stretch:.3f} times as long as before (limit {limit:g}){more}"


def _parity(measured: Measured, _: float) -> float | None:
    faults, judged = _parity_faults(measured)
    return float(len(faults)) if judged else None


def _parity_faults(measured: Measured) -> tuple[list[str], bool]:
    """Return what is wrong with charge and multiplicity, and whether anything could be checked."""
    faults = []
    nuclear = measured.composition.nuclear_charge
    if nuclear is not None:
        electrons, unpaired = nuclear - measured.charge, measured.multiplicity - 1
        if electrons < unpaired or unpaired < 0 or (electrons - unpaired) % 2:
            faults.append(f"{electrons} electrons cannot have multiplicity {measured.multiplicity}")
    said = [
        (what, measured.result.get(name), ledgers)
        for what, name, ledgers in (
            ("charge", "charge", measured.charge),
            ("multiplicity", "mult", measured.multiplicity),
        )
    ]
    faults += [
        f"the output has {what} {value}, the ledger {ledgers}"
        for what, value, ledgers in said
        if value is not None and value != ledgers
    ]
    return faults, nuclear is not None or any(value is not None for _, value, _ in said)


def _parity_told(measured: Measured, _: float) -> str:
    faults, _judged = _parity_faults(measured)
    return "; ".join(faults) or f"charge {measured.charge}, multiplicity {measured.multiplicity}"


QUALITY_RULES: Final[Sequence[QualityRule]] = (
    QualityRule(
        "terminated_normally",
        Severity.ERROR,
        "ORCA reports a normal termination, and its last line is there",
        _flag("terminated_normally"),
        _says("terminated_normally", "terminated normally", "the output has no normal end"),
    ),
    QualityRule(
        "scf_converged",
        Severity.ERROR,
        "the last SCF converged, and no energy is marked as not fully converged",
        _scf,
        _scf_told,
    ),
    QualityRule(
        "optimization_converged",
        Severity.ERROR,
        "the optimisation, if any, converged",
        _flag("opt_converged"),
        _says("opt_converged", "optimisation converged", "optimisation not converged"),
    ),
    QualityRule(
        "forces_below_limit",
        Severity.WARNING,
        "no component of the gradient is larger than {limit} Eh/bohr",
        _forces,
        _forces_told,
        "max_gradient",
    ),
    QualityRule(
        "spin_contamination",
        Severity.WARNING,
        "<S²>, if the output prints it, is within {limit} of S(S+1)",
        _spin,
        _spin_told,
        "max_spin_contamination",
    ),
    QualityRule(
        "energy_in_range",
        Severity.WARNING,
        "the energy is within {limit} robust standard deviations of that expected from elements and charge for the same"
        f" metal, or within {ENERGY_FLOOR:g} Eh",
        _energy,
        _energy_told,
        "max_energy_deviation",
        "too few similar structures when it was recorded; the asset check judges it again with each run",
    ),
    QualityRule(
        "metal_bound",
        Severity.WARNING,
        "no first neighbour of a metal has moved to more than {limit} times its former distance, and no metal has lost"
        " all its neighbours",
        _bound,
        _bound_told,
        "max_bond_stretch",
    ),
    QualityRule(
        "electron_parity",
        Severity.ERROR,
        "the number of electrons fits the multiplicity, and the output has the ledger's charge and multiplicity",
        _parity,
        _parity_told,
    ),
)
"""In the order of display."""
