"""Runs attempts through Parsl, which is imported by ``config`` and ``pool`` alone, and only when a pool starts."""
