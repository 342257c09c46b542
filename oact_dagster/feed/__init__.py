"""Decisions of a self-running campaign: what it begins next, pauses, hosts to avoid, and notices."""
