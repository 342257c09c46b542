"""The settings of a campaign: one file for each section of ``campaign.yaml``."""
