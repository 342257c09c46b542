"""High-throughput ORCA campaigns as Dagster assets; importing this package imports nothing else."""
