"""The rules that a completed structure's result is judged by.

Each gives a number for what it looks at: None where that was not measured, 0 where the rule holds, and a positive one
where it is broken, the larger the worse. Rules over a whole campaign are those of ``execution.quality``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from oact_dagster.quality.limits import QualityLimits
from oact_dagster.quality.measured import Measured

ENERGY_FLOOR: Final = 0.05
"""Eh of a whole structure. Conformers and most isomers of one complex lie within 30 kcal/mol of each other, and differ
by no more however narrow their spread is; a lost ligand, a wrong charge or another electronic state costs more."""


class Severity(StrEnum):
    """How much a broken rule matters."""

    ERROR = "error"
    """The result is no result."""
    WARNING = "warning"
    """It is to be looked at."""


@dataclass(frozen=True, slots=True)
class QualityRule:
    """One thing that must hold for a completed structure."""

    name: str
    severity: Severity
    description: str
    """What must hold; ``{limit}`` stands for the limit."""
    breach: Callable[[Measured, float], float | None]
    """How badly it is broken, by what was measured and the limit (0 for a rule that has none)."""
    told: Callable[[Measured, float], str]
    """What was measured, with its unit and the limit, where it was measured."""
    setting: str | None = None
    """The limit's name in :class:`QualityLimits`."""
    unjudged: str = "not measured"
    """Why it could not be judged, where that is so."""

    def limit(self, limits: QualityLimits) -> float | None:
        """The limit; 0 for a rule that has none, None where it is switched off."""
        if self.setting is None:
            return 0.0
        value = getattr(limits, self.setting)
        return None if value is None else float(value)

    def described(self, limits: QualityLimits) -> str:
        """What must hold, with the limit in force."""
        limit = self.limit(limits)
        return self.description.format(limit="-" if limit is None else f"{limit:g}")


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule says of one structure."""

    rule: str
    severity: Severity
    passed: bool | None
    """None where it could not be judged."""
    text: str
    """What was measured, with its unit and the limit; why not, where it was not."""


def rules_in_force(limits: QualityLimits) -> tuple[QualityRule, ...]:
    """The rules that are not switched off."""
    return tuple(rule for rule in QUALITY_RULES if rule.limit(limits) is not None)


def apply_rules(measured: Measured, limits: QualityLimits) -> tuple[RuleResult, ...]:
    """What each rule in force says of a structure."""
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
    """How far a number is above a limit, relative to it; infinite for one that is no finite number."""
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
        f"<S²> {measured.number('s2'):.4f}, {measured.spin_contamination:.4f} from {measured.ideal_s2:g} of"
        f" multiplicity {measured.multiplicity} (limit {limit:g})"
    )


def energy_breach(sigmas: float, total: float, limit: float) -> float:
    """How badly an energy is off, 0 where it is not.

    Args:
        sigmas: its deviation in robust standard deviations.
        total: the same in Eh, of the whole structure.
        limit: of the first, in robust standard deviations.
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
        f"energy {abs(total):.4g} Eh {way} that of its like, {abs(sigmas):.3g} robust standard deviations"
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
    more = f"; {alone} of its metals have no neighbour left" if alone else ""
    return f"{bond} is {stretch:.3f} times as long as before (limit {limit:g}){more}"


def _parity(measured: Measured, _: float) -> float | None:
    faults, judged = _parity_faults(measured)
    return float(len(faults)) if judged else None


def _parity_faults(measured: Measured) -> tuple[list[str], bool]:
    """What is wrong with charge and multiplicity, and whether anything could be looked at."""
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
        "ORCA says that it terminated normally, and its last line is there",
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
        "the optimisation converged, where there is one",
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
        "<S²> is within {limit} of S(S+1), where the output prints it",
        _spin,
        _spin_told,
        "max_spin_contamination",
    ),
    QualityRule(
        "energy_in_range",
        Severity.WARNING,
        "the energy is within {limit} robust standard deviations of what its elements and charge make it in structures"
        f" of the same metal, or within {ENERGY_FLOOR:g} Eh",
        _energy,
        _energy_told,
        "max_energy_deviation",
        "too few structures like it when it was recorded; the asset check judges it again with each run",
    ),
    QualityRule(
        "metal_bound",
        Severity.WARNING,
        "no first neighbour of a metal has moved away to more than {limit} times its distance, and no metal has lost"
        " all",
        _bound,
        _bound_told,
        "max_bond_stretch",
    ),
    QualityRule(
        "electron_parity",
        Severity.ERROR,
        "the electrons fit the multiplicity, and the output has the ledger's charge and multiplicity",
        _parity,
        _parity_told,
    ),
)
"""All rules over one structure, in the order in which they are shown."""
