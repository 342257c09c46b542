"""Launchers, which run attempts, and the payload that runs beside ORCA."""
