"""Slurm and Flux: job arrays, their scripts, and the commands that submit, query and cancel."""
