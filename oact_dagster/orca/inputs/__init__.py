"""ORCA's inputs: levels of theory, basis sets, checks, and the text of ``orca.inp``."""
