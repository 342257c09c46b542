"""The jobs that a campaign would submit, and whether its scheduler would take them."""

import math

from oact_dagster.errors import LauncherError, NoAnswerError
from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.protocol import Finding, PlannedJobs
from oact_dagster.schedulers.registry import make_scheduler
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher import SizedResources


class JobRequests:
    """The largest job of each size in ``launcher.resources``, and of the structures above those sizes."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._maxcore: dict[SizedResources | None, int | None] = dict.fromkeys(campaign.launcher.resources)
        self._larger = False

    def add(self, natoms: int, maxcore: int) -> None:
        """Add a structure; ``maxcore`` is the memory of each process, MB."""
        sized = self._campaign.launcher.resources_of(natoms)
        self._larger |= sized is None
        self._maxcore[sized] = max(maxcore, self._maxcore.get(sized) or 0)

    def findings(self) -> list[Finding]:
        """Ask the scheduler about the jobs before any is submitted.

        A scheduler that cannot be asked is a finding, too. A launcher without a scheduler has none.
        """
        settings = self._campaign.launcher
        scheduler = make_scheduler(settings)
        if scheduler is None:
            return []
        found: list[Finding] = []
        try:
            found.extend(scheduler.examine(self._wanted()))
        except LauncherError as error:
            found.append(Finding(f"launcher.kind: {settings.kind}: {error}", blocks=True))
        except NoAnswerError as error:
            text = f"{settings.kind} does not answer ({error}): could not ask whether it would take the jobs"
            found.append(Finding(text))
        return found

    def _wanted(self) -> list[PlannedJobs]:
        """One job for every size named in the settings, even if no structure has that size."""
        launcher = self._campaign.launcher
        if launcher.pilots:
            return [self._pilots()]
        sizes: list[SizedResources | None] = list(launcher.resources)
        if self._larger or not sizes:
            sizes.append(None)
        longest = launcher.longest_job_s
        longest_minutes = None if longest is None else math.ceil(longest / 60)
        found = []
        for sized in sizes:
            cores = (sized.n_cores if sized is not None else None) or self._campaign.orca.n_cores
            limit = launcher.time_limit_of(sized.max_atoms) if sized is not None else launcher.job_timeout_s
            memory = launcher.memory_request_mb(self._maxcore.get(sized), cores)
            request = ResourceRequest(cores, max(1, math.ceil(limit / 60)), memory)
            found.append(PlannedJobs(request, self._whose(sized), longest_minutes))
        return found

    def _pilots(self) -> PlannedJobs:
        launcher = self._campaign.launcher
        request = ResourceRequest(
            launcher.max_workers * self._campaign.n_cores,
            max(1, math.ceil(launcher.pilot_s / 60)),
            launcher.mem if isinstance(launcher.mem, int) else None,
        )
        return PlannedJobs(request, "the pilots")

    def _whose(self, sized: SizedResources | None) -> str:
        if sized is not None:
            return f"structures with up to {sized.max_atoms} atoms"
        largest = self._campaign.launcher.resources
        return f"structures with more than {largest[-1].max_atoms} atoms" if largest else "all structures"
