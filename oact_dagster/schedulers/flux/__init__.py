"""Flux: jobs submitted in bulk, to the system's instance or to that of an allocation."""
