"""Turns the events of a batch into Dagster's."""

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

_SHOWN_FAILURES = 20


class BatchReport:
    """Turns a batch's events into Dagster's, and counts them.

    Args:
        campaign: the settings.
        ledger: for the energies that results are compared with.
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
        """Dagster's events for one of the batch."""
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
            index, attempt = event.structure.orig_index, event.attempt
            input_hash = attempt.input_hash if attempt is not None else None
            settings_hash = attempt.settings_hash if attempt is not None else None
            verdicts = self._verdicts(event)
            for key, metadata in (
                (self._keys.orca_results, result_metadata(event, input_hash, verdicts)),
                (self._keys.metric_summaries, metric_metadata(event, verdicts)),
            ):
                yield from self._materialized(key, index, metadata, input_hash, settings_hash)
        elif isinstance(event, Failed):
            self.counts["failed"] += 1
            self.failure_classes[event.failure_class] += 1
            index = event.structure.orig_index
            self._show(f"structure {index}: {event.message.splitlines()[0][:200] if event.message else ''}")
            # A red partition has no materialization that could hold the metadata.
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
        """What a step raises at its end to turn structures without a result red; None if all have one."""
        without = self.counts["failed"] + self.counts["not_run"]
        if not without:
            return None
        classes = ", ".join(f"{count} {name}" for name, count in self.failure_classes.most_common())
        not_run = f", {self.counts['not_run']} not run" if self.counts["not_run"] else ""
        of = pluralise(sum(self.counts.values()), "structure")
        return Failure(
            f"{without} of {of} {'has' if without == 1 else 'have'} no result ({classes or 'none failed'}{not_run});"
            " the others are recorded",
            metadata={"structures": MetadataValue.md("\n".join(f"- {line}" for line in self._shown))},
            allow_retries=False,
        )

    def _verdicts(self, event: Completed) -> Sequence[RuleResult]:
        """Verdicts of the quality rules; the energy is compared with results that are older than this batch."""
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
        if key in self._selected:
            # A result that is reported again keeps the version of its own settings, and so shows as outdated.
            tags = version_tags(settings_hash or self._code_version, input_hash, self._upstream[key])
            yield AssetMaterialization(key, partition=str(orig_index), metadata=metadata, tags=tags)

    def _show(self, line: str) -> None:
        if len(self._shown) <= _SHOWN_FAILURES:
            self._shown.append(line if len(self._shown) < _SHOWN_FAILURES else "…")
