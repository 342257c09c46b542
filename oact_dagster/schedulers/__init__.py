"""Slurm and Flux: arrays of jobs, their scripts, and the commands that submit, ask and cancel."""
