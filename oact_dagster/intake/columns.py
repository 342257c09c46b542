"""The columns of a CSV that a campaign reads."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from oact_dagster.errors import IntakeRefused
from oact_dagster.settings.campaign import Campaign


@dataclass(frozen=True, slots=True)
class Columns:
    """Indices, in a row, of the columns that a campaign reads."""

    geometry: int
    charge: int | None
    spin: int | None
    annotate: tuple[tuple[str, int], ...]
    """(name, index) of each column whose values become comments in inputs."""
    priority: int | None
    geometry_name: str
    charge_name: str
    spin_name: str
    priority_name: str

    @classmethod
    def of(cls, campaign: Campaign, header: Sequence[str]) -> Self:
        """Find a campaign's columns in a CSV's header.

        Raises:
            IntakeRefused: A column is missing or appears more than once.
        """

        def place(key: str, name: str) -> int:
            if header.count(name) == 1:
                return header.index(name)
            raise IntakeRefused(f"{campaign.csv}, line 1: {_missing_or_twice(key, name, header)}")

        charge, spin = campaign.charge_column, campaign.spin_column
        priority = campaign.feed.priority_column
        return cls(
            geometry=place("geometry_column", campaign.geometry_column),
            charge=None if charge is None else place("charge_column", charge),
            spin=None if spin is None else place("spin_column", spin),
            annotate=tuple((name, place("annotate", name)) for name in dict.fromkeys(campaign.annotate)),
            priority=None if priority is None else place("feed.priority_column", priority),
            geometry_name=campaign.geometry_column,
            charge_name=charge or "charge",
            spin_name=spin or "uhf",
            priority_name=priority or "priority",
        )


def _missing_or_twice(key: str, name: str, header: Sequence[str]) -> str:
    if name in header:
        return f"the column {name!r} ({key}) appears {header.count(name)} times; its name must be unique"
    if len(header) == 1:
        other = next((mark for mark in (";", "\t", "|") if mark in header[0]), None)
        if other is not None:
            return f"the header has {other!r} but no comma; the columns of a CSV must be separated by commas"
    folded = {column.strip().lower(): column for column in header}
    near = difflib.get_close_matches(name.strip().lower(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    return f"no column {name!r} ({key} in campaign.yaml){hint}; the columns are: {listed(header)}"


def listed(columns: Sequence[str]) -> str:
    """Return column names for a message, the first 40 of them."""
    shown = ", ".join(column if column.strip() else repr(column) for column in columns[:40])
    return shown if len(columns) <= 40 else f"{shown} and {len(columns) - 40} more"
