"""The asset keys of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass

from dagster import AssetKey

from oact_dagster.settings.campaign import Campaign


def name_prefix(campaign: Campaign) -> str:
    """Prefix of the names of a campaign's jobs, steps and sensors: campaigns may share an instance."""
    return "_".join([*campaign.asset_prefix, ""])


def summarise_name(campaign: Campaign) -> str:
    """Name of the job that materializes only ``campaign_summary``."""
    return f"{name_prefix(campaign)}summarise"


@dataclass(frozen=True, slots=True)
class CampaignKeys:
    """The campaign's assets, under its ``asset_prefix``."""

    intake: AssetKey
    architector_csv: AssetKey
    job_ledger: AssetKey
    orca_inputs: AssetKey
    orca_results: AssetKey
    metric_summaries: AssetKey
    campaign_summary: AssetKey

    @classmethod
    def of(cls, campaign: Campaign) -> "CampaignKeys":
        """The keys of a campaign."""
        return cls(*(AssetKey([*campaign.asset_prefix, name]) for name in cls.__slots__))

    @property
    def per_structure(self) -> Sequence[AssetKey]:
        """The assets with one partition per structure, upstream first."""
        return (
            self.architector_csv,
            self.job_ledger,
            self.orca_inputs,
            self.orca_results,
            self.metric_summaries,
        )
