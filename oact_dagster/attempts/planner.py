"""The planner of a batch: the next attempts of structures that were tried before."""

from collections.abc import Generator, Sequence

from oact_dagster.attempts.batch_state import BatchState
from oact_dagster.attempts.earlier_results import stored_result
from oact_dagster.attempts.events import Event, Note
from oact_dagster.attempts.next_attempt import NextAttempt, plan_next
from oact_dagster.errors import InputRefused, SetupError
from oact_dagster.ledger.states import AttemptRecord, Claim, Status, StructureRecord
from oact_dagster.orca.remedies.next_input import Stop


class AttemptPlanner:
    """Plans attempts before they are claimed."""

    def __init__(self, batch: BatchState) -> None:
        self._batch = batch
        self._planned: dict[int, tuple[int, NextAttempt]] = {}

    def plan(self, indices: Sequence[int]) -> Generator[Event, None, list[int]]:
        """Decide on the next attempts of structures that were tried before.

        Returns:
            The structures left to claim, without those that have this very result from an earlier attempt and those
            whose failure has no remedy left.
        """
        batch = self._batch
        tried = batch.ledger.history.attempts_of(indices)
        records = batch.ledger.structures.of(list(tried))
        left = [index for index in indices if index not in tried]
        for index, attempts in tried.items():
            record = records[index]
            if not self._may_be_claimed(record):
                left.append(index)
                continue
            good = None if batch.request.ignore_budget else self._restored(record, attempts)
            if good is not None:
                yield Note(f"structure {index}: attempt {good.number} already has a result for this input")
                yield from batch.done(list(batch.ledger.structures.of([index]).values()))
                continue
            try:
                coming = self._next(record, attempts)
            except ValueError:
                left.append(index)  # the input cannot be written, which is reported when it is tried
                continue
            if isinstance(coming, NextAttempt):
                self._planned[index] = (attempts[-1].number + 1, coming)
                left.append(index)
            else:
                batch.ledger.set_aside(index, batch.campaign.retry_key())
                yield batch.failed(record, f"not tried again: {coming.reason}")
        order = {index: place for place, index in enumerate(indices)}
        return sorted(left, key=order.__getitem__)

    def set_aside_hopeless(self, orig_indices: Sequence[int]) -> None:
        """Set aside the structures, just recorded as failed, whose failure has no remedy left."""
        batch = self._batch
        if not orig_indices:
            return
        tried = batch.ledger.history.attempts_of(orig_indices)
        for index, record in batch.ledger.structures.of(list(tried)).items():
            try:
                hopeless = self._may_be_claimed(record) and isinstance(self._next(record, tried[index]), Stop)
            except ValueError:
                continue  # the input cannot be written, which is reported when it is tried
            if hopeless:
                batch.ledger.set_aside(index, batch.campaign.retry_key())

    def _restored(self, record: StructureRecord, attempts: Sequence[AttemptRecord]) -> AttemptRecord | None:
        """Restore an earlier result of this very input, and return its attempt, or None if there is none."""
        batch = self._batch
        try:
            found = stored_result(attempts, batch.settings_hash, lambda: batch.writer.setup_of(record))
            if found is not None and batch.ledger.restore(
                record.orig_index, found.attempt.token, batch.request.statuses, found.bring_back
            ):
                return found.attempt
        except (ValueError, OSError, SetupError):
            pass  # the error is reported when the structure is run
        return None

    def _may_be_claimed(self, record: StructureRecord) -> bool:
        batch = self._batch
        retry = batch.campaign.retry
        within_budget = record.within_budget(retry.max_failures, retry.max_losses)
        return (
            record.status is not Status.RUNNING
            and (batch.request.named or not record.held)
            and (batch.request.ignore_budget or within_budget)
        )

    def _next(self, record: StructureRecord, attempts: Sequence[AttemptRecord]) -> NextAttempt | Stop:
        batch = self._batch
        return plan_next(
            batch.campaign,
            record,
            attempts,
            settings_hash=batch.settings_hash,
            never_stop=batch.request.ignore_budget,
        )

    def coming(self, claim: Claim) -> NextAttempt:
        """Return what a claimed attempt runs.

        Raises:
            GeometryError, StructureError, InputRefused: Structure and settings do not go together.
        """
        number, coming = self._planned.pop(claim.structure.orig_index, (1, None))
        if coming is not None and number == claim.attempt:
            return coming
        # It is a first attempt, or another run tried the structure between our plan and our claim.
        earlier = self._batch.ledger.history.attempts(claim.structure.orig_index) if claim.attempt > 1 else []
        planned = self._next(claim.structure, earlier)
        if isinstance(planned, NextAttempt):
            return planned
        raise InputRefused(f"not tried again: {planned.reason}")
