"""Flux: jobs submitted in bulk, to the system's instance or to the one of an allocation."""
