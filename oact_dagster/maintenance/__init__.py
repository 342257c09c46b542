"""Maintenance of a campaign: check, fsck, clean, and the update of running structures."""
