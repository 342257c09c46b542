"""Runs attempts through Parsl. Only some modules import Parsl itself, and only when a pool starts."""
