"""The sections of ``campaign.yaml``, a file each."""
