"""The quality rules as asset checks: each run evaluates every rule once, over all results so far."""

from collections.abc import Collection, Iterator
from typing import Final

import dagster as dg

from oact_dagster.defs.dagster_internals import AssetCheckEvaluationTargetMaterializationData
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.metadata import table
from oact_dagster.quality.rules import Severity, rules_in_force
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.quality import CAMPAIGN_RULES, Quality, RuleSummary
from oact_dagster.text import pluralise

_OF_THE_METRICS: Final = ("forces_below_limit", "spin_contamination", "energy_in_range", "metal_bound")
"""Rules on the numbers, checked on ``metric_summaries``; all others are checked on ``orca_results``."""

_SEVERITIES: Final = {
    Severity.ERROR: dg.AssetCheckSeverity.ERROR,
    Severity.WARNING: dg.AssetCheckSeverity.WARN,
}


def check_specs(campaign: Campaign) -> list[dg.AssetCheckSpec]:
    """The checks on ``orca_results`` and ``metric_summaries``, without rules that are switched off."""
    limits = campaign.quality.limits
    described = {rule.name: rule.described(limits) for rule in rules_in_force(limits)} | dict(CAMPAIGN_RULES)
    return [
        dg.AssetCheckSpec(name, asset=_asset_of(campaign, name), description=text)
        for name, text in described.items()
    ]


def quality_check_results(
    campaign: Campaign, quality: Quality, wanted: Collection[dg.AssetCheckKey] | None = None
) -> Iterator[dg.AssetCheckResult]:
    """What the rules found, with counts and the ten worst results.

    Args:
        campaign: the settings.
        quality: findings for all its results.
        wanted: only these checks; None: all.
    """
    for rule in quality.rules:
        key = dg.AssetCheckKey(_asset_of(campaign, rule.name), rule.name)
        if wanted is None or key in wanted:
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=rule.failed == 0,
                severity=_SEVERITIES[rule.severity],
                description=_outcome(rule),
                metadata={
                    "judged": rule.checked,
                    "broken": rule.failed,
                    "worst": table(
                        [("partition", "string"), ("found", "string")],
                        [(str(index), text) for index, text in rule.worst],
                    ),
                },
            )


def as_evaluation(result: dg.AssetCheckResult, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    """The event of a check in a job without assets, where Dagster makes none itself.

    It refers to the asset's latest materialization in ``instance``.
    """
    assert result.asset_key is not None and result.check_name is not None
    target = None
    for record in instance.fetch_materializations(result.asset_key, limit=1).records:
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        target_materialization_data=target,
        severity=result.severity,
        description=result.description,
    )


def _asset_of(campaign: Campaign, rule: str) -> dg.AssetKey:
    keys = CampaignKeys.of(campaign)
    return keys.metric_summaries if rule in _OF_THE_METRICS else keys.orca_results


def _outcome(rule: RuleSummary) -> str:
    if not rule.checked:
        return f"nothing to judge yet: {rule.description}"
    if rule.failed:
        return f"broken by {rule.failed} of {pluralise(rule.checked, 'result')}: {rule.description}"
    whole = "the only result" if rule.checked == 1 else f"all {rule.checked} results"
    return f"holds for {whole}: {rule.description}"
