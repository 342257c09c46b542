"""The settings as ``campaign.yaml`` says now: a daemon lives for months, and settings change meanwhile."""

from oact_dagster.settings.campaign import Campaign, CampaignError, load_campaign

_IN_DEFINITIONS = ("name", "asset_prefix", "csv", "ledger")
"""What the definitions that were loaded are made of."""


def current_settings(loaded: Campaign) -> Campaign:
    """Read a campaign's settings again.

    Args:
        loaded: as they were when the definitions were made.

    Raises:
        CampaignError: they are wrong now, or something has changed by which assets and sensors are called.
    """
    now = load_campaign(loaded.file)
    changed = [key for key in _IN_DEFINITIONS if getattr(now, key) != getattr(loaded, key)]
    if changed:
        raise CampaignError(
            f"{loaded.file}: {', '.join(changed)} changed since this was started: start `oact web` again, or press"
            " Reload in the web page"
        )
    return now
