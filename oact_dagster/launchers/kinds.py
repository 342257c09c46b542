"""The names of launchers, as the ledger keeps them with each attempt."""

from typing import Final

PILOTS: Final = "-pilots"
"""Ends the name of a scheduler whose jobs are pilots: an attempt on their list is no job of its own."""


def settings_of(kind: str) -> str:
    """The settings in ``campaign.yaml`` that choose a launcher."""
    scheduler = kind.removesuffix(PILOTS)
    return (
        f"launcher.kind: {kind}" if scheduler == kind else f"launcher.kind: {scheduler} with per_job: parsl"
    )
