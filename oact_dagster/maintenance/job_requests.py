"""What a campaign's structures would ask its scheduler for."""

import math

from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.protocol import PlannedJobs
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher import SizedResources


class JobRequests:
    """The largest job of each size in ``launcher.resources``, and of what is above them.

    Args:
        campaign: its settings.
    """

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._maxcore: dict[SizedResources | None, int | None] = dict.fromkeys(campaign.launcher.resources)
        self._larger = False

    def add(self, natoms: int, maxcore: int) -> None:
        """Count a structure in.

        Args:
            natoms: its atoms.
            maxcore: of its input, MB for each process.
        """
        sized = self._campaign.launcher.resources_of(natoms)
        self._larger |= sized is None
        self._maxcore[sized] = max(maxcore, self._maxcore.get(sized) or 0)

    def wanted(self) -> list[PlannedJobs]:
        """The jobs; every size that the settings name has one, whether or not there is a structure of it."""
        launcher = self._campaign.launcher
        if launcher.pilots:
            return [self._pilots()]
        sizes: list[SizedResources | None] = list(launcher.resources)
        if self._larger or not sizes:
            sizes.append(None)
        found = []
        for sized in sizes:
            cores = (sized.n_cores if sized is not None else None) or self._campaign.orca.n_cores
            limit = launcher.time_limit_of(sized.max_atoms) if sized is not None else launcher.job_timeout_s
            memory = launcher.memory_request_mb(self._maxcore.get(sized), cores)
            request = ResourceRequest(cores, max(1, math.ceil(limit / 60)), memory)
            longest = launcher.longest_job_s
            found.append(
                PlannedJobs(request, self._whose(sized), None if longest is None else math.ceil(longest / 60))
            )
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
