"""Pilots: a few jobs of a whole node each, which run many structures from a shared list."""
