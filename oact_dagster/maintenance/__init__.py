"""Looking after a campaign: check, fsck, clean, and bringing running structures up to date."""
