"""Runs attempts as jobs of a scheduler: what Slurm and Flux have in common.

A job outlives the process that submitted it, and a lost answer does not mean that nothing happened. So silence decides
nothing: a submit without an answer is looked up by its jobs' name before anything is submitted again, and while the
scheduler does not answer, no job changes its state.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from oact_dagster.errors import LauncherError, NoAnswerError
from oact_dagster.launchers.attempt_files import FILES_SHOW_S, has_run, is_unfinished
from oact_dagster.launchers.protocol import Orphan, Submission
from oact_dagster.schedulers.job_array import JobArray, find_arrays, split
from oact_dagster.schedulers.job_script import PAYLOAD, JobEnvironment, by_hand_name
from oact_dagster.schedulers.jobs import Cause, Job, JobState, Phase
from oact_dagster.schedulers.protocol import ArrayNames, Reply, Scheduler
from oact_dagster.text import pluralise

SOONEST_S: Final = 2.0
"""Time from a submit to the first look at the queue, s; from then on it grows to the poll interval."""
SETTLE_S: Final = 5.0
"""How long a submit whose answer was lost may still arrive once the scheduler answers again, s."""
SLOWEST_FACTOR: Final = 10
"""A silent scheduler is asked less and less often, down to once in this many poll intervals."""
HOSTS_KNOWN_FOR_S: Final = 600.0
"""How long the scheduler's list of nodes is kept, s. It is needed if some are to be avoided."""
LONGEST_SEARCH: Final = 3
"""How often a silent scheduler is asked for a dead run's jobs."""


@dataclass(slots=True)
class _UnclearArray:
    """An array whose submit had no answer."""

    array: JobArray
    missing_since: float | None = None
    """When the scheduler first reported that jobs of the array are missing."""


class SchedulerLauncher:
    """Payloads as jobs of a scheduler.

    Args:
        folder: folder for arrays, on a file system that the nodes share.
        poll_interval_s: time between two looks at the queue, s.
        max_array_size: most jobs in one call; None: as many as the scheduler allows.
        command: what a job runs in its folder.
        grace_s: time after which a missing job counts as lost, s.
    """

    jobs_outlive_process = True

    def __init__(
        self,
        scheduler: Scheduler,
        folder: Path,
        environment: JobEnvironment,
        poll_interval_s: float,
        *,
        max_array_size: int | None = None,
        command: Sequence[str] = PAYLOAD,
        grace_s: float = FILES_SHOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = scheduler.kind
        self._scheduler = scheduler
        self._folder = folder
        self._environment = environment
        self._interval = poll_interval_s
        self._max_array_size = max_array_size
        self._command = command
        self._files_show_s = min(grace_s, FILES_SHOW_S)
        self._clock = clock
        self._states: dict[str, JobState] = {}
        self._places: dict[str, tuple[JobArray, int]] = {}
        self._unclear: dict[str, _UnclearArray] = {}
        self._cancelled: dict[str, float] = {}
        self._cancelled_waiting: set[str] = set()
        self._queued_at: dict[str, float] = {}
        self._gone_at: dict[str, float] = {}
        self._began: set[str] = set()
        self._notes: list[str] = []
        self._noted_pending: set[str] = set()
        self._hosts: Collection[str] | None = None
        self._hosts_asked = -HOSTS_KNOWN_FOR_S
        self._noted_hosts: set[str] = set()
        self._adopted: set[str] = set()
        self._untraced: set[str] = set()
        self._unanswered = ""
        self._pause = min(SOONEST_S, poll_interval_s)
        self._next_poll = self._next_submit = 0.0
        self._waiting = False
        self._noted_full = ""

    # --- submitting -----------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        taken: dict[str, str] = {}
        refused: dict[str, str] = {}
        wanted = {job.token for job in jobs}
        if self._clock() < self._next_submit:
            return Submission()
        self._waiting = False
        for unclear in [u for u in self._unclear.values() if wanted.intersection(u.array.tokens)]:
            taken |= self._resolve(unclear)
        settled = set(self.withdraw(wanted - taken.keys()))
        left = [job for job in jobs if job.token in settled]
        try:
            named = self._avoiding_known_hosts(left)
            queue = [list(group) for group in split(named, self._largest_array())] if named else []
        except NoAnswerError as error:
            self._no_answer(str(error))
            self._try_again(self._pause)
            queue = []
        while queue and not self._waiting:
            group = queue.pop(0)
            try:
                array = self._write(group)
            except LauncherError:
                if taken or refused:
                    break  # report what is known so far; the next call raises the error
                raise
            answer = self._scheduler.submit(array)
            if answer.reply is Reply.TAKEN:
                taken |= self._take(array, answer.job_ids)
                # Some jobs of the group may have met a limit or been refused.
                rest = [job for task, job in enumerate(group) if task not in answer.job_ids]
                if rest:
                    self._wait_for_room(len(rest), answer.told)
            elif answer.reply is Reply.UNCLEAR:
                self._unclear[array.name] = _UnclearArray(array)
                self._notes.append(
                    f"{self.kind}: the answer to a submit of {pluralise(len(group), 'job')} was lost ({answer.told});"
                    f" searching the queue for the name {array.name}"
                )
                self._try_again(self._pause)
                taken |= self._resolve(self._unclear[array.name])
                if array.name in self._unclear:
                    break  # the next groups would fare the same
                self._waiting = False
            elif answer.reply is Reply.FULL:
                array.remove()
                if len(group) > 1:
                    half = len(group) // 2
                    queue[:0] = [group[:half], group[half:]]
                else:
                    self._wait_for_room(1 + sum(map(len, queue)), answer.told)
            elif avoided := group[0].avoid:
                array.remove()
                # If no unknown host is named, avoiding these may leave no host at all.
                unknown = answer.unknown_hosts or avoided
                kept = tuple(host for host in avoided if host not in unknown)
                self._note_not_avoided(set(avoided) - set(kept), answer.told)
                queue.insert(0, [replace(job, avoid=kept) for job in group])
            else:
                array.remove()
                refused |= {job.token: answer.told for job in group}
        if taken:
            self._look_soon()
        return Submission(taken, refused)

    def _avoiding_known_hosts(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Name the hosts that jobs avoid as the scheduler does, and drop those it does not have.

        Raises:
            NoAnswerError: the scheduler does not answer.
        """
        if not any(job.avoid for job in jobs):
            return jobs
        if self._clock() - self._hosts_asked >= HOSTS_KNOWN_FOR_S:
            self._hosts = self._scheduler.hosts()
            self._hosts_asked = self._clock()
        if self._hosts is None:
            return jobs
        # The ledger keeps names without their domains.
        known = {host.partition(".")[0]: host for host in self._hosts}
        named = []
        for job in jobs:
            avoid = tuple(sorted(known[host] for host in job.avoid if host in known))
            unknown = [host for host in job.avoid if host not in known]
            self._note_not_avoided(unknown, f"{self.kind} has no such node for these jobs")
            if avoid and len(avoid) == len(known):
                self._note_not_avoided(avoid, "no other node could run these jobs")
                avoid = ()
            named.append(replace(job, avoid=avoid))
        return named

    def _note_not_avoided(self, hosts: Collection[str], reason: str) -> None:
        """Note, once for each host, that jobs cannot be kept away from it."""
        fresh = sorted(host for host in hosts if host not in self._noted_hosts)
        if fresh:
            self._noted_hosts.update(fresh)
            self._notes.append(f"{self.kind}: jobs are not kept away from {', '.join(fresh)}: {reason}")

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`. The jobs are known by their names."""
        names = {by_hand_name(folder): folder for folder in folders}
        try:
            return {names[name]: job_id for name, job_id in self._scheduler.active(names).items()}
        except NoAnswerError as error:
            raise LauncherError(
                f"{self.kind} does not answer ({error}) and may have jobs that were submitted by hand: nothing was"
                " submitted; try again when it answers"
            ) from None

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`: all but those whose submit had no answer."""
        pending = {token for unclear in self._unclear.values() for token in unclear.array.tokens}
        return [token for token in tokens if token not in pending]

    def closing(self) -> str:
        """Always empty: this launcher never stops accepting jobs."""
        return ""

    def _largest_array(self) -> int:
        allowed = self._scheduler.largest_array()
        return allowed if self._max_array_size is None else min(allowed, self._max_array_size)

    def _write(self, group: Sequence[Job]) -> JobArray:
        try:
            return JobArray.write(
                self._folder, group, self._environment, self._scheduler.task_variable, self._command
            )
        except (OSError, ValueError) as error:
            told = (error.strerror if isinstance(error, OSError) else None) or error
            raise LauncherError(f"{self._folder}: a job script could not be written: {told}") from error

    def _take(self, array: JobArray, job_ids: Mapping[int, str]) -> dict[str, str]:
        """Record the jobs that the scheduler has taken, and return their ids by token."""
        try:
            array.keep_ids(job_ids)
        except OSError as error:
            # The next run has to find them by name.
            self._notes.append(f"{array.folder}: {error.strerror or error}")
        for task, job_id in job_ids.items():
            self._places[job_id] = (array, task)
            self._states[job_id] = JobState(Phase.QUEUED)
        return {array.tokens[task]: job_id for task, job_id in job_ids.items() if task < len(array.tokens)}

    def _resolve(self, unclear: _UnclearArray) -> dict[str, str]:
        """Look for an array whose answer was lost, until it is certain which of its jobs the scheduler has."""
        array = unclear.array
        try:
            found = self._scheduler.find([array]).get(array.name, {})
        except NoAnswerError as error:
            self._no_answer(str(error))
            self._try_again(self._pause)
            return {}
        self._answered()
        now = self._clock()
        missing = len(array.tokens) - len(found)
        unclear.missing_since = now if unclear.missing_since is None else unclear.missing_since
        if missing and now - unclear.missing_since < SETTLE_S:
            self._try_again(SETTLE_S)
            return {}
        del self._unclear[array.name]
        self._next_submit = now
        if found:
            jobs = pluralise(len(found), "job")
            self._notes.append(f"{self.kind}: found in the queue: {jobs} of that submit")
        if missing:
            jobs = pluralise(missing, "job")
            self._notes.append(f"{self.kind}: not in the queue and submitted again: {jobs} of that submit")
        return self._take(array, found) if found else {}

    def _wait_for_room(self, jobs: int, told: str) -> None:
        if told != self._noted_full:
            self._noted_full = told
            self._notes.append(f"{self.kind} takes no more jobs for now ({told}); {jobs} wait until it does")
        self._try_again(self._interval)

    def _try_again(self, after_s: float) -> None:
        self._waiting = True
        self._next_submit = self._clock() + after_s

    # --- following ------------------------------------------------------------------------------------------

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each job, from one look at the queue for all, at most once in a poll interval."""
        if self._clock() >= self._next_poll:
            self._look(self._open(job_ids))
            if self._adopted and not self._unanswered:
                self._note_unknown()
        return {job_id: self._of(job_id) for job_id in job_ids}

    def _open(self, job_ids: Collection[str]) -> list[str]:
        """The jobs of which the scheduler may still have news."""
        return [i for i in job_ids if i not in self._untraced and self._of(i).phase is not Phase.ENDED]

    def _of(self, job_id: str) -> JobState:
        return self._states.get(job_id, JobState(Phase.QUEUED))

    def _look(self, job_ids: Sequence[str]) -> None:
        if not job_ids:
            self._next_poll = self._clock() + self._interval
            return
        asked = self._clock()
        try:
            found = self._scheduler.states(self._names_of(job_ids))
        except NoAnswerError as error:
            self._no_answer(str(error))
            return
        self._answered()
        self._pause = min(self._pause * 1.5, self._interval)
        self._next_poll = self._clock() + self._pause
        # Asked once for all, since it may be slow.
        kept_s = 0.0 if found.keys() >= set(job_ids) else self._scheduler.knows_ended_for_s()
        arrays = {self._places[job_id][0].name for job_id in found if job_id in self._places}
        for job_id in job_ids:
            state = found.get(job_id, JobState(Phase.UNKNOWN))
            if state.phase is Phase.QUEUED:
                self._queued_at[job_id] = asked
                self._gone_at.pop(job_id, None)
            elif state.phase is Phase.RUNNING:
                self._began.add(job_id)
            elif state.phase is Phase.UNKNOWN and self._never_began(job_id, arrays, kept_s):
                state = JobState(Phase.ENDED, "cancelled while it waited", Cause.CANCELLED)
            if state.phase in (Phase.ENDED, Phase.UNKNOWN) and job_id in self._places:
                array, task = self._places[job_id]
                state = replace(state, log=array.last_lines(task))
                if not state.log and has_run(array.folders[task]):
                    array.remove_empty_log(task)
            waits_for = state.reason if state.phase is Phase.QUEUED else ""
            if waits_for and (why := self._scheduler.why_pending(waits_for)) is not None:
                state = replace(state, stuck=f"{waits_for} ({why})")
            self._states[job_id] = state
        self._note_pending()

    def _note_unknown(self) -> None:
        """Note, once, jobs of a dead run that the scheduler does not know."""
        unknown = [i for i in self._adopted if self._of(i).phase is Phase.UNKNOWN]
        self._adopted.clear()
        if unknown:
            self._notes.append(
                f"{self.kind} does not know {pluralise(len(unknown), 'job')} of a run that is gone"
                f" ({self._scheduler.why_unknown}); none counts as lost while its payload shows signs of life"
            )

    def _names_of(self, job_ids: Collection[str]) -> ArrayNames:
        """The array name that the scheduler must have for each job; empty if not known."""
        return {i: self._places[i][0].name if i in self._places else "" for i in job_ids}

    def _never_began(self, job_id: str, arrays: Collection[str], kept_s: float) -> bool:
        """Whether a job unknown to the scheduler was cancelled while it waited, by us or by somebody else.

        Slurm keeps no record of a task that was cancelled before it began while others of its array continue. Had it
        begun since it was last seen waiting, Slurm would know it as running or as just ended. If that is too long ago,
        or nobody looked, its files decide: a node creates a task's log before it runs anything.

        Args:
            job_id: job that the scheduler does not know.
            arrays: names of the arrays of which the scheduler knows a job.
            kept_s: how long the scheduler knows a job that has ended, s.
        """
        if job_id in self._cancelled_waiting:
            return True
        if job_id not in self._places:
            return False
        array, task = self._places[job_id]
        now = self._clock()
        # If the whole array is unknown, there is another reason, such as a restart without saved state.
        if array.name in arrays:
            self._gone_at.setdefault(job_id, now)
            if now - self._queued_at.get(job_id, -math.inf) < kept_s:
                return True
        # Had it begun, it would have ended at least this long ago, so its files would have had that time to appear.
        ended_s = kept_s + now - self._gone_at.get(job_id, math.inf)
        shown = kept_s > 0 and ended_s >= self._files_show_s
        began = job_id in self._began or array.began(task) or has_run(array.folders[task])
        return shown and not began

    def _note_pending(self) -> None:
        """Note, once, each reason for waiting that does not pass by itself."""
        stuck = Counter(state.stuck for state in self._states.values() if state.stuck)
        for reason, count in stuck.items():
            if reason not in self._noted_pending:
                self._notes.append(f"{self.kind}: {pluralise(count, 'job', 'waits', 'wait')}: {reason}")
        self._noted_pending = set(stuck)

    def _no_answer(self, told: str) -> None:
        if not self._unanswered:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            self._unanswered = f"{self.kind} has not answered since {since} ({told})"
            self._notes.append(f"{self.kind} does not answer ({told}); nothing is decided until it does")
        self._pause = min(self._pause * 2, self._interval * SLOWEST_FACTOR)
        self._next_poll = self._clock() + self._pause

    def _answered(self) -> None:
        if self._unanswered:
            self._notes.append(f"{self.kind} answers again")
            self._unanswered = ""
            self._pause = min(SOONEST_S, self._interval)

    def _look_soon(self) -> None:
        self._pause = min(SOONEST_S, self._interval)
        self._next_poll = min(self._next_poll, self._clock() + self._pause)

    # --- ending ---------------------------------------------------------------------------------------------

    def cancel(self, job_ids: Collection[str]) -> None:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`. A repeated request is passed on now and then."""
        now = self._clock()
        due = [job_id for job_id in self._open(job_ids) if now >= self._cancelled.get(job_id, 0.0)]
        if not due:
            return
        try:
            self._scheduler.cancel(self._names_of(due))
        except NoAnswerError as error:
            self._no_answer(str(error))
        else:
            self._cancelled_waiting.update(i for i in due if self._of(i).phase is Phase.QUEUED)
        again = self._clock() + max(self._interval, SETTLE_S)
        self._cancelled.update(dict.fromkeys(due, again))
        self._look_soon()

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """The command with which a user cancels these jobs."""
        names = dict.fromkeys(self._places[i][0].name for i in job_ids if i in self._places)
        return self._scheduler.how_to_cancel(job_ids, names)

    # --- jobs of a dead run ---------------------------------------------------------------------------------

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Find the jobs of a dead run by the ids it recorded, or else by the names of its arrays."""
        places = find_arrays(self._folder, [orphan.token for orphan in orphans])
        adopted: dict[str, str] = {}
        unconfirmed: dict[str, JobArray] = {}
        ids: dict[str, dict[int, str]] = {}
        for orphan in orphans:
            # An orphan that could not be traced before has its token in place of a job id.
            kept_id = None if orphan.job_id == orphan.token else orphan.job_id
            if orphan.token not in places:
                # Its array is no longer on disk, or was never written.
                if kept_id is not None:
                    adopted[orphan.token] = kept_id
                continue
            array, task = places[orphan.token]
            if array.name not in ids:
                ids[array.name] = array.kept_ids()
            job_id = ids[array.name].get(task) or kept_id
            if job_id is not None:
                adopted[orphan.token] = job_id
                # Its neighbours that ended before, too: it matters whether the scheduler knows any of them.
                self._places |= {other: (array, place) for place, other in ids[array.name].items()}
                self._places[job_id] = (array, task)
                if orphan.began:
                    self._began.add(job_id)
            elif not ids[array.name]:
                unconfirmed[array.name] = array
        for name, found in self._search(unconfirmed).items():
            taken = self._take(unconfirmed[name], found)
            adopted |= {o.token: taken[o.token] for o in orphans if o.token in taken}
        for orphan in orphans:
            if orphan.token not in adopted and is_unfinished(orphan.folder, orphan.token):
                # Its job may be in another Flux instance or no longer queued. Its files decide once it shows no life.
                adopted[orphan.token] = orphan.token
                self._untraced.add(orphan.token)
                self._states[orphan.token] = JobState(Phase.UNKNOWN)
        if adopted:
            self._adopted.update(adopted.values())
            self._next_poll = 0.0
        return adopted

    def _search(self, arrays: Mapping[str, JobArray]) -> Mapping[str, Mapping[int, str]]:
        """Look for arrays whose submit was never confirmed, until it is certain which of them the scheduler has.

        Raises:
            LauncherError: the scheduler does not answer.
        """
        silent = 0
        while arrays:
            try:
                found = self._scheduler.find(arrays.values())
            except NoAnswerError as error:
                silent += 1
                if silent >= LONGEST_SEARCH:
                    raise LauncherError(
                        f"{self.kind} does not answer ({error}) and may have jobs of a run that is gone: nothing was"
                        " submitted; try again when it answers"
                    ) from None
                time.sleep(min(SOONEST_S, self._interval))
                continue
            # A submit that was in progress when its run died may arrive late.
            now = time.time()
            young = [n for n, array in arrays.items() if n not in found and now - array.written_at < SETTLE_S]
            if not young:
                return {name: tasks for name, tasks in found.items() if tasks}
            time.sleep(0.5)
        return {}

    # --- the rest -------------------------------------------------------------------------------------------

    def notes(self) -> Sequence[str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        notes, self._notes = self._notes, []
        return notes

    def unanswered(self) -> str:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        return self._unanswered

    def wait(self, seconds: float) -> bool:
        """Sleep until the next look at the queue is due, but no longer than this."""
        due = min(self._next_poll, self._next_submit) if self._waiting else self._next_poll
        time.sleep(max(0.0, min(seconds, due - self._clock())))
        return self._clock() >= due

    def close(self) -> None:
        """Do nothing: jobs continue without this process."""
