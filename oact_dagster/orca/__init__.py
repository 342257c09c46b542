"""ORCA's inputs, outputs and failures; knows nothing else of the project."""
