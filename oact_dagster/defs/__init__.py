"""What Dagster sees of a campaign."""
