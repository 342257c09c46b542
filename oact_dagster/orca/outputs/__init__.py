"""Readers of what ORCA and Sella write: outputs, gradients, trajectories, and how a run ended."""

from oact_dagster.orca.outputs.reader import read_engrad, read_output

__all__ = ["read_engrad", "read_output"]
