"""The launcher that a campaign's settings ask for."""

from oact_dagster.campaign import Campaign
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.protocol import Launcher


def make_launcher(campaign: Campaign) -> Launcher:
    """Make the launcher of ``launcher.kind``; nothing runs before the first submit."""
    return LocalLauncher(campaign.launcher.max_workers, campaign.launcher.stop_grace_s)
