"""From what happens in a batch to Dagster's events."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from dagster import AssetKey, AssetMaterialization, AssetObservation, Failure, MetadataValue

from oact_dagster.attempts.events import Completed, Event, Failed, InputWritten, NotRun, Stuck
from oact_dagster.defs.dagster_internals import version_tags
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.metadata import (
    Metadata,
    failure_metadata,
    input_metadata,
    metric_metadata,
    result_metadata,
)
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.orca.failures import failure_classes
from oact_dagster.quality.energy_model import EnergyModel
from oact_dagster.quality.rules import RuleResult
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.quality import energy_model, judge_one
from oact_dagster.text import pluralise

SHOWN_FAILURES = 20


class BatchReport:
    """Turns a batch's events into Dagster's, and keeps count.

    Args:
        campaign: the settings.
        ledger: knows the energies that results are compared with.
        selected: only these assets get events.
    """

    def __init__(self, campaign: Campaign, ledger: LedgerReader, selected: Collection[AssetKey]) -> None:
        self._campaign = campaign
        self._ledger = ledger
        self._models: dict[str | None, EnergyModel | None] = {}
        self._keys = CampaignKeys.of(campaign)
        self._selected = selected
        self._code_version = campaign.settings_hash()
        self._upstream = {key: upstream for upstream, key in pairwise(self._keys.per_structure)}
        self.counts: Counter[str] = Counter()
        self.failure_classes: Counter[str] = Counter()
        self._shown: list[str] = []

    def dagster_events(self, event: Event) -> Iterator[AssetMaterialization | AssetObservation]:
        """The events of Dagster that tell of one of ours."""
        if isinstance(event, InputWritten):
            yield from self._materialized(
                self._keys.orca_inputs,
                event.structure.orig_index,
                input_metadata(event),
                event.input_hash,
                event.settings_hash,
            )
        elif isinstance(event, Completed):
            self.counts[
                "reused" if event.reused else "computed_by_another_run" if event.followed else "computed"
            ] += 1
            index = event.structure.orig_index
            digest = event.attempt.input_hash if event.attempt is not None else None
            made_with = event.attempt.settings_hash if event.attempt is not None else None
            verdicts = self._verdicts(event)
            yield from self._materialized(
                self._keys.orca_results, index, result_metadata(event, digest, verdicts), digest, made_with
            )
            yield from self._materialized(
                self._keys.metric_summaries, index, metric_metadata(event, verdicts), digest, made_with
            )
        elif isinstance(event, Failed):
            self.counts["failed"] += 1
            self.failure_classes[event.failure_class] += 1
            index = event.structure.orig_index
            self._show(f"structure {index}: {event.message.splitlines()[0][:200] if event.message else ''}")
            # A red partition has no materialization of its own that could carry these.
            red = [self._keys.orca_results]
            if event.failure_class in failure_classes(lambda facts: facts.no_input):
                red.append(self._keys.orca_inputs)
            for key in red:
                if key in self._selected:
                    yield AssetObservation(key, partition=str(index), metadata=failure_metadata(event))
        elif isinstance(event, Stuck):
            if self._keys.orca_results in self._selected:
                yield AssetObservation(
                    self._keys.orca_results,
                    partition=str(event.orig_index),
                    description="its job may wait for ever",
                    metadata={"pending_reason": event.reason},
                )
        elif isinstance(event, NotRun):
            self.counts["not_run"] += 1
            self._show(f"structure {event.orig_index}: {event.reason}")

    def failure(self) -> Failure | None:
        """What a step raises at its end so that structures without a result turn red; None when all have one."""
        without = self.counts["failed"] + self.counts["not_run"]
        if not without:
            return None
        classes = ", ".join(f"{count} {name}" for name, count in self.failure_classes.most_common())
        left = f", {self.counts['not_run']} not run" if self.counts["not_run"] else ""
        of = pluralise(sum(self.counts.values()), "structure")
        return Failure(
            f"{without} of {of} {'has' if without == 1 else 'have'} no result ({classes or 'none failed'}{left});"
            " the others are recorded",
            metadata={"structures": MetadataValue.md("\n".join(f"- {line}" for line in self._shown))},
            allow_retries=False,
        )

    def _verdicts(self, event: Completed) -> Sequence[RuleResult]:
        """What the quality rules say of a result; of its energy by those that were there before this batch."""
        if event.attempt is None or not event.attempt.result:
            return ()
        engine = event.attempt.result.get("engine")
        if engine not in self._models:
            self._models[engine] = energy_model(self._ledger, engine)
        return judge_one(self._campaign, event.structure, event.attempt.result, self._models[engine])

    def _materialized(
        self,
        key: AssetKey,
        orig_index: int,
        metadata: Metadata,
        input_hash: str | None,
        settings_hash: str | None,
    ) -> Iterator[AssetMaterialization]:
        if key not in self._selected:
            return
        # A result that is told of again keeps the version of the settings that it was made with: it is outdated.
        tags = version_tags(settings_hash or self._code_version, input_hash, self._upstream[key])
        yield AssetMaterialization(key, partition=str(orig_index), metadata=metadata, tags=tags)

    def _show(self, line: str) -> None:
        if len(self._shown) < SHOWN_FAILURES:
            self._shown.append(line)
        elif len(self._shown) == SHOWN_FAILURES:
            self._shown.append("…")
