"""Running structures: intake, batches, verdicts, summaries; knows no Dagster."""
