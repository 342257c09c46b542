"""The text of a structure's input, from the campaign's settings and the ledger's row."""

from dataclasses import replace
from functools import lru_cache

from oact_dagster.attempts.standin_input import check_standin_input
from oact_dagster.launchers.attempt_files import TOKEN_COMMENT
from oact_dagster.ledger.states import StructureRecord
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.writer import InputSettings, render_input
from oact_dagster.orca.structure import Structure
from oact_dagster.settings.campaign import STANDIN, Campaign
from oact_dagster.settings.orca import OrcaSettings


def input_settings(campaign: Campaign, natoms: int | None = None) -> InputSettings:
    """What the campaign's settings say of every input, or of those of structures of this size."""
    settings = _settings_of(campaign.orca)
    sized = campaign.launcher.resources_of(natoms) if natoms is not None else None
    n_cores = campaign.n_cores if sized is None or sized.n_cores is None else sized.n_cores
    return settings if n_cores == settings.n_cores else replace(settings, n_cores=n_cores)


@lru_cache(maxsize=16)
def _settings_of(orca: OrcaSettings) -> InputSettings:
    return InputSettings(**orca.model_dump(exclude={"command"}))


def chemistry(record: StructureRecord) -> Structure:
    """The atoms, charge and unpaired electrons of a row.

    Raises:
        GeometryError, StructureError: they do not go together.
    """
    return Structure(parse_geometry(record.geometry), record.charge, record.multiplicity - 1)


def input_text(
    campaign: Campaign,
    record: StructureRecord,
    token: str | None,
    *,
    structure: Structure | None = None,
    settings: InputSettings | None = None,
    remedy: str | None = None,
) -> str:
    """The text of a structure's ``orca.inp``.

    Args:
        campaign: its settings.
        record: which structure.
        token: of the attempt that will run it; None for an input to look at.
        structure: with the geometry to start from, where that is not the row's.
        settings: the campaign's with changes, where there are any.
        remedy: the name of the changes, for a comment.

    Raises:
        InputRefused, GeometryError, StructureError: structure and settings do not go together, or the stand-in engine
            is to run it and could not.
    """
    comments = [f"structure {record.orig_index} of campaign {campaign.name}"]
    comments += [f"{column}: {value}" for column, value in record.annotations.items()]
    if remedy is not None:
        comments.append(f"remedy: {remedy}")
    if token is not None:
        comments.append(f"{TOKEN_COMMENT}: {token}")
    text = render_input(
        structure or chemistry(record), settings or input_settings(campaign, record.natoms), comments
    )
    if campaign.orca.command == STANDIN:
        check_standin_input(text)
    return text
