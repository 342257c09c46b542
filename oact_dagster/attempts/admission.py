"""Admission to a batch: report finished structures, follow those of other runs, claim the rest."""

from collections.abc import Iterable, Iterator, Sequence

from oact_dagster.attempts.batch_state import NOT_OURS, BatchState
from oact_dagster.attempts.events import Event, Note, NotRun, TakenIn
from oact_dagster.attempts.peer_runs import PeerRuns
from oact_dagster.attempts.planner import AttemptPlanner
from oact_dagster.attempts.submitter import Submitter
from oact_dagster.feed.decisions import due_of
from oact_dagster.ledger.states import Status, StructureRecord


class Admission:
    """Decides what becomes of each structure that a batch is asked for."""

    def __init__(
        self, batch: BatchState, planner: AttemptPlanner, submitter: Submitter, peers: PeerRuns
    ) -> None:
        self._batch = batch
        self._planner = planner
        self._submitter = submitter
        self._peers = peers

    def refill(self) -> bool:
        """Queue the next due structures for a batch that draws on a supply, and return whether there are any.

        They belong to this batch only once it has claimed them.
        """
        batch = self._batch
        if batch.supply_left <= 0:
            return False
        room = min(
            batch.supply_left, batch.campaign.batch_size, batch.campaign.max_in_flight - len(batch.live)
        )
        due = due_of(batch.campaign, batch.clock())
        # A structure offered before may have been given back since. It is not taken again.
        found = batch.ledger.queue.select(batch.request.statuses, room + len(batch.offered), due)
        fresh = [index for index in found if index not in batch.offered][:room]
        if not fresh:
            batch.supply_left = 0
        batch.offered.update(fresh)
        batch.pending.extend(fresh)
        return bool(fresh)

    def admit(self) -> Iterator[Event]:
        """Take the next structures: report finished ones, follow those of other and dead runs, claim the rest."""
        batch = self._batch
        room = batch.campaign.max_in_flight - len(batch.live)
        taken = [
            batch.pending.popleft() for _ in range(min(room, batch.campaign.batch_size, len(batch.pending)))
        ]
        chunk = [index for index in taken if index not in batch.settled]
        known = batch.ledger.structures.of(chunk)
        structures = [known[index] for index in chunk if index in known]
        if not batch.request.supply:
            yield self._take_in(structures)
        yield from (NotRun(index, "is not in the ledger") for index in chunk if index not in known)
        completed = [one for one in structures if one.status is Status.COMPLETED]
        stale = self._to_compute_again([one.orig_index for one in completed])
        yield from batch.done([one for one in completed if one.orig_index not in stale])
        if not batch.request.supply:
            running = [one.orig_index for one in structures if one.status is Status.RUNNING]
            yield from self._peers.attach(running)
        self._submitter.look_for_bad_hosts()
        # The attempts of dead runs have been judged by now. What they left to run is claimed with the rest.
        to_run = [one for one in structures if one.status is not Status.COMPLETED or one.orig_index in stale]
        yield from self._claim([one.orig_index for one in to_run])

    def _take_in(self, structures: Iterable[StructureRecord]) -> TakenIn:
        fresh = [one for one in structures if one.orig_index not in self._batch.taken]
        self._batch.taken.update(one.orig_index for one in fresh)
        return TakenIn(fresh)

    def _to_compute_again(self, completed: Sequence[int]) -> set[int]:
        """Return the structures whose result comes from other settings, if completed ones were asked for."""
        batch = self._batch
        if Status.COMPLETED not in batch.request.statuses:
            return set()
        attempts = batch.ledger.history.good_attempts(completed)
        return {i for i in completed if i in attempts and attempts[i].settings_hash != batch.settings_hash}

    def _claim(self, indices: Sequence[int]) -> Iterator[Event]:
        batch = self._batch
        wanted = [index for index in indices if index not in batch.others and index not in batch.settled]
        wanted = yield from self._planner.plan(wanted)
        if not wanted:
            return
        retry = batch.campaign.retry
        claims = batch.ledger.claim(
            batch.batch_id,
            wanted,
            # A structure may have become to_run meanwhile: lost, or given back by another run.
            statuses=(Status.TO_RUN, *batch.request.statuses),
            launcher=batch.launcher.kind,
            n_cores=batch.campaign.n_cores,
            max_failures=None if batch.request.ignore_budget else retry.max_failures,
            max_losses=None if batch.request.ignore_budget else retry.max_losses,
            release_held=batch.request.named,
            settings_hash=batch.settings_hash,
            now=batch.clock(),
        )
        ours = {claim.structure.orig_index for claim in claims}
        if batch.request.supply:
            batch.supply_left -= len(ours - batch.taken)
            yield self._take_in(claim.structure for claim in claims)
        yield from self._submitter.submit(claims)
        if batch.request.supply:
            return
        yield from self._explain([index for index in wanted if index not in ours])

    def _explain(self, indices: Sequence[int]) -> Iterator[Event]:
        """Report why structures could not be claimed, and follow those that another run has just taken."""
        batch = self._batch
        followed = batch.ledger.history.open_attempts(indices)
        structures = batch.ledger.structures.of(indices)
        stale = self._to_compute_again([i for i, s in structures.items() if s.status is Status.COMPLETED])
        for index, structure in structures.items():
            if structure.status is Status.COMPLETED:
                if index in stale:
                    why = (
                        "is held; `oact release` releases it"
                        if structure.held
                        else "has used up its budget of attempts; a run with --ignore-budget computes it"
                    )
                    text = f"structure {index} keeps its result from other settings because it {why}"
                    yield Note(text, warning=True)
                yield from batch.done([structure])
            elif structure.status is Status.RUNNING:
                if any(live.structure.orig_index == index for live in batch.live.values()):
                    continue
                if index in followed:
                    batch.others.add(index)
                else:
                    yield NotRun(index, NOT_OURS)
            elif structure.held and not batch.request.named:
                yield NotRun(index, "is held; release it with `oact release`, or name it")
            elif spent := self._spent_budget(structure):
                last = structure.error_message or "no message"
                yield batch.failed(structure, f"set aside after {spent}; the last one: {last}")
            else:
                yield NotRun(index, f"is {structure.status}, and this run does not select that status")

    def _spent_budget(self, structure: StructureRecord) -> str:
        retry = self._batch.campaign.retry
        if structure.fail_count >= retry.max_failures:
            return f"{structure.fail_count} failed attempts (retry.max_failures: {retry.max_failures})"
        if structure.loss_count >= retry.max_losses:
            return f"{structure.loss_count} lost attempts (retry.max_losses: {retry.max_losses})"
        return ""
