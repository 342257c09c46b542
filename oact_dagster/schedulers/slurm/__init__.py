"""Slurm: one job array for each distinct resource request."""
