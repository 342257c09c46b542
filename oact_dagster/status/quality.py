"""Quality of a campaign's results: applies the rules to every completed structure and to the campaign as a whole.

All results are streamed once; about 100 bytes are kept of each until the energies are fitted.
"""

import hashlib
import heapq
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from oact_dagster.attempts.engine import ORCA_NAME, STANDIN_NAME
from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.quality import JudgedResult, names_of
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Result, StructureRecord
from oact_dagster.ledger.store import Ledger
from oact_dagster.quality.energy_model import FEWEST, EnergyModel
from oact_dagster.quality.limits import QualityLimits
from oact_dagster.quality.measurements import Composition, Deviation, Measured, composition_of
from oact_dagster.quality.rules import (
    QUALITY_RULES,
    QualityRule,
    RuleResult,
    Severity,
    apply_rules,
    energy_breach,
    rules_in_force,
)
from oact_dagster.settings.campaign import STANDIN, Campaign
from oact_dagster.text import pluralise

_WORST_SHOWN: Final = 10
MODELS: Final[Document[dict[str, Any]]] = Document("energy_models", dict[str, Any], {})

ONE_VERSION: Final = "one_orca_version"
ONE_LEVEL: Final = "one_level_of_theory"
CAMPAIGN_RULES: Final[Mapping[str, str]] = {
    ONE_VERSION: "all results are from one version of ORCA",
    ONE_LEVEL: "all results are from the campaign's engine, and their inputs were made with the present settings",
}
"""The rules for a whole campaign: what must hold, by name."""

UNKNOWN_ENGINE: Final = "unknown"
_ENERGY: Final = "energy_in_range"
_BIT: Final = {rule.name: 1 << place for place, rule in enumerate(QUALITY_RULES)}
_RULES_VERSION: Final = 1
"""Raise this when a rule changes, so that stored results of the former rule count as outdated."""


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """Results of one rule for a campaign."""

    name: str
    severity: Severity
    description: str
    """What must hold, with the limit."""
    checked: int
    """Results that the rule could judge."""
    failed: int
    worst: Sequence[tuple[int, str]]
    """``(orig_index, measured value)`` of up to ten results that break the rule, worst first."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Results of all rules for a campaign."""

    judged: int
    failed: Mapping[int, tuple[str, ...]]
    """Rules that each structure breaks, by ``orig_index`` in the order of the CSV; without rules for the campaign."""
    rules: Sequence[RuleSummary]
    """The rules that are not switched off, in the order of display; those for the campaign are last."""
    models: Mapping[str, EnergyModel]
    judged_for: str
    """Hash of the limits."""


def judged_for(campaign: Campaign) -> str:
    """Return a short hash of the limits and the rules' version; results stored with another hash are outdated."""
    decisive = [_RULES_VERSION, asdict(campaign.quality.limits)]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def judge_one(
    campaign: Campaign,
    structure: StructureRecord,
    result: Result | Mapping[str, Any],
    model: EnergyModel | None = None,
) -> tuple[RuleResult, ...]:
    """Apply each rule to one completed structure, without reading the others.

    ``result`` comes from the attempt's output, or is what the ledger stores. ``model`` holds the energies fitted for
    its engine, see :func:`energy_model`; None skips ``energy_in_range``.
    """
    values = asdict(result) if isinstance(result, Result) else result
    composition = composition_of(structure.elements)
    energy = values.get("final_energy")
    deviation = None
    if model is not None and energy is not None:
        deviation = model.deviation(composition, structure.charge, energy)
    measured = Measured(
        composition,
        structure.charge,
        structure.multiplicity,
        energy,
        values.get("max_forces"),
        values,
        deviation,
    )
    return apply_rules(measured, campaign.quality.limits)


def energy_model(ledger: LedgerReader, engine: str | None) -> EnergyModel | None:
    """Return the energies fitted last to an engine's results, or None."""
    try:
        kept = MODELS.read(ledger)
        return EnergyModel.from_json(kept[engine or UNKNOWN_ENGINE])
    except (KeyError, TypeError):
        return None


def evaluate(campaign: Campaign, ledger: LedgerReader, *, store: bool = False) -> Quality:
    """Apply the rules to every completed structure and to the campaign.

    A ledger holds one level of theory, so the energies of one engine are comparable. Each engine gets a fit of its own.
    With ``store``, results that have changed are written to the ledger, which must be open for writing.

    Raises:
        LedgerError: The ledger cannot be read or written.
        ValueError: The results should be stored, but the ledger is open for reading only.
    """
    if store and not isinstance(ledger, Ledger):
        raise ValueError("the ledger is open for reading only; storing results needs one open for writing")
    run = _Evaluation(campaign)
    for row in ledger.quality.results_to_judge():
        run.take(row)
    run.fit()
    if store and isinstance(ledger, Ledger):
        ledger.set_quality(run.changed(), run.judged_for)
        models = {engine: model.to_json() for engine, model in run.models.items()}
        if MODELS.read(ledger) != models:
            MODELS.write(ledger, models)
    return run.quality()


class _Tally:
    """Results of one rule so far."""

    def __init__(self) -> None:
        self.checked = 0
        self.failed = 0
        self._worst: list[tuple[float, int, str]] = []

    def matters(self, breach: float, orig_index: int) -> bool:
        """Count a structure that breaks the rule; return whether it is one of the worst so far."""
        self.failed += 1
        return len(self._worst) < _WORST_SHOWN or (breach, -orig_index) > self._worst[0][:2]

    def show(self, breach: float, orig_index: int, text: str) -> None:
        """Keep the text on one of the worst structures."""
        heapq.heappush(self._worst, (breach, -orig_index, text))
        if len(self._worst) > _WORST_SHOWN:
            heapq.heappop(self._worst)

    def worst(self) -> tuple[tuple[int, str], ...]:
        """Return (``orig_index``, text) of the worst structures, worst first."""
        return tuple((-minus, text) for _, minus, text in sorted(self._worst, reverse=True))


class _Groups:
    """Counts of results by a key that all of them should share, with the first result of each."""

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}
        self.first: dict[Any, int] = {}

    def add(self, key: Any, orig_index: int) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        self.first.setdefault(key, orig_index)

    def most_first(self) -> list[Any]:
        return sorted(self.counts, key=lambda key: (-self.counts[key], self.first[key]))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class _Evaluation:
    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.limits: QualityLimits = campaign.quality.limits
        self.judged_for = judged_for(campaign)
        self.models: dict[str, EnergyModel] = {}
        self._tallies = {rule.name: _Tally() for rule in rules_in_force(self.limits)}
        self._each: list[tuple[QualityRule, float, int, _Tally]] = [
            (rule, rule.limit(self.limits) or 0.0, _BIT[rule.name], self._tallies[rule.name])
            for rule in rules_in_force(self.limits)
            if rule.name != _ENERGY
        ]
        self._ids, self._indices, self._attempts = array("q"), array("q"), array("i")
        self._energies = array("d")
        self._masks, self._judged = array("H"), array("B")
        self._kept_masks, self._kept_judged = array("i"), array("B")
        self._tables: dict[str, tuple[Any, array[int]]] = {}
        self._kept_names: dict[str, int] = {}
        self._versions, self._levels = _Groups(), _Groups()

    def take(self, row: Any) -> None:
        """Apply the rules that need no other results."""
        values = _values(row["result"])
        orig_index = row["orig_index"]
        composition = composition_of(row["elements"])
        energy = row["final_energy"]
        measured = Measured(composition, row["charge"], row["spin"], energy, row["max_forces"], values)
        mask = judged = 0
        for rule, limit, bit, tally in self._each:
            breach = rule.breach(measured, limit)
            if breach is None:
                continue
            judged += 1
            tally.checked += 1
            if breach > 0:
                mask |= bit
                if tally.matters(breach, orig_index):
                    tally.show(breach, orig_index, rule.told(measured, limit))
        engine = row["engine"]
        if _ENERGY in self._tallies and energy is not None and composition.nuclear_charge is not None:
            self._add_energy(engine or UNKNOWN_ENGINE, composition, row["charge"], energy)
        self._ids.append(row["id"])
        self._indices.append(orig_index)
        self._attempts.append(row["attempt"])
        self._energies.append(float("nan") if energy is None else energy)
        self._masks.append(mask)
        self._judged.append(judged)
        same = row["kept_attempt"] == row["attempt"] and row["kept_for"] == self.judged_for
        self._kept_masks.append(self._mask_of(row["kept_failed"]) if same else -1)
        self._kept_judged.append(row["kept_judged"] if same else 0)
        if engine == ORCA_NAME and values.get("engine_version"):
            self._versions.add(str(values["engine_version"]), orig_index)
        if engine is not None:
            self._levels.add((engine, row["settings_hash"]), orig_index)

    def _add_energy(self, engine: str, composition: Composition, charge: int, energy: float) -> None:
        if engine not in self._tables:
            # Importing NumPy takes a tenth of a second, and a campaign may have nothing to fit.
            from oact_dagster.quality.energy_fit import EnergyTable

            self._tables[engine] = EnergyTable(), array("q")
        table, places = self._tables[engine]
        table.add(composition, charge, energy)
        places.append(len(self._ids))

    def _mask_of(self, names: str) -> int:
        if names not in self._kept_names:
            # The name of a former rule gets an unused bit, so that the stored mask counts as changed.
            self._kept_names[names] = sum(_BIT.get(name, 1 << 20) for name in names_of(names))
        return self._kept_names[names]

    def fit(self) -> None:
        """Fit the energies and apply their rule."""
        [rule] = [rule for rule in QUALITY_RULES if rule.name == _ENERGY]
        limit = rule.limit(self.limits)
        if limit is None:
            return
        tally = self._tallies[_ENERGY]
        for engine, (table, places) in sorted(self._tables.items()):
            if len(table) < FEWEST:
                continue
            from oact_dagster.quality.energy_fit import deviations, fit

            model = self.models[engine] = fit(table)
            sigmas, totals, said = deviations(table, model)
            tally.checked += int(said.sum())
            for row in said.nonzero()[0].tolist():
                place = places[row]
                self._judged[place] += 1
                breach = energy_breach(sigmas[row], totals[row], limit)
                if breach > 0:
                    self._masks[place] |= _BIT[_ENERGY]
                    orig_index = self._indices[place]
                    if tally.matters(breach, orig_index):
                        deviation = Deviation(float(sigmas[row]), float(totals[row]))
                        energy = self._energies[place]
                        shown = Measured(composition_of(""), 0, 1, energy, None, {}, deviation)
                        tally.show(breach, orig_index, rule.told(shown, limit))

    def changed(self) -> Iterator[JudgedResult]:
        """Yield the results that the ledger does not have yet."""
        for place, mask in enumerate(self._masks):
            if mask == self._kept_masks[place] and self._judged[place] == self._kept_judged[place]:
                continue
            energy = self._energies[place]
            yield JudgedResult(
                self._ids[place],
                self._attempts[place],
                None if energy != energy else energy,
                _names(mask),
                self._judged[place],
            )

    def quality(self) -> Quality:
        """Return the results of all rules."""
        failed = {index: _names(mask) for index, mask in zip(self._indices, self._masks, strict=True) if mask}
        rules = [
            RuleSummary(
                rule.name,
                rule.severity,
                rule.described(self.limits),
                tally.checked,
                tally.failed,
                tally.worst(),
            )
            for rule in rules_in_force(self.limits)
            for tally in (self._tallies[rule.name],)
        ]
        rules += [self._one_version(), self._one_level()]
        return Quality(len(self._ids), failed, tuple(rules), self.models, self.judged_for)

    def _one_version(self) -> RuleSummary:
        found = self._versions
        versions = found.most_first()
        return RuleSummary(
            ONE_VERSION,
            Severity.WARNING,
            CAMPAIGN_RULES[ONE_VERSION],
            found.total,
            found.total - found.counts[versions[0]] if versions else 0,
            tuple(
                (
                    found.first[version],
                    f"{pluralise(found.counts[version], 'result')} from ORCA {version}, of which this is the first",
                )
                for version in versions[:_WORST_SHOWN]
            )
            if len(versions) > 1
            else (),
        )

    def _one_level(self) -> RuleSummary:
        found = self._levels
        engine = STANDIN_NAME if self.campaign.orca.command == STANDIN else ORCA_NAME
        present = self.campaign.settings_hash()
        others = [key for key in found.most_first() if key[0] != engine or key[1] not in (None, present)]
        return RuleSummary(
            ONE_LEVEL,
            Severity.WARNING,
            f"{CAMPAIGN_RULES[ONE_LEVEL]} ({present})",
            found.total,
            sum(found.counts[key] for key in others),
            tuple(
                (
                    found.first[key],
                    f"{pluralise(found.counts[key], 'result')} from {key[0]} with"
                    f" {f'the settings {key[1]}' if key[1] else 'unknown settings'}, of which this is the first",
                )
                for key in others[:_WORST_SHOWN]
            ),
        )


def _values(text: str | None) -> dict[str, Any]:
    """Return a stored result; empty if there is none or it is unreadable."""
    try:
        values = json.loads(text or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _names(mask: int) -> tuple[str, ...]:
    return tuple(name for name, bit in _BIT.items() if mask & bit)
