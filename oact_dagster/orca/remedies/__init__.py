"""Remedies: what the next attempt changes after a failure, and what it starts from."""
