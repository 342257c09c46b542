"""ORCA's inputs, outputs and failures; imports nothing else of the project."""
