"""Text of a structure's input, from the campaign's settings and the ledger's row."""

from dataclasses import replace
from functools import lru_cache

from oact_dagster.errors import InputRefused
from oact_dagster.launchers.attempt_files import TOKEN_COMMENT
from oact_dagster.ledger.states import StructureRecord
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.writer import InputSettings, render_input
from oact_dagster.orca.structure import Structure
from oact_dagster.settings.campaign import STANDIN, Campaign
from oact_dagster.settings.orca import OrcaSettings
from oact_dagster.standin.input_reader import InputError, read_input
from oact_dagster.standin.surrogate import OxidationStateError, surrogate_of


def input_settings(campaign: Campaign, natoms: int | None = None) -> InputSettings:
    """Return the input settings of a campaign, with the cores for structures of ``natoms`` atoms if given."""
    settings = _settings_of(campaign.orca)
    sized = campaign.launcher.resources_of(natoms) if natoms is not None else None
    n_cores = campaign.n_cores if sized is None or sized.n_cores is None else sized.n_cores
    return settings if n_cores == settings.n_cores else replace(settings, n_cores=n_cores)


@lru_cache(maxsize=16)
def _settings_of(orca: OrcaSettings) -> InputSettings:
    return InputSettings(**orca.model_dump(exclude={"command"}))


def chemistry(record: StructureRecord) -> Structure:
    """Return the atoms, charge and unpaired electrons of a row.

    Raises:
        GeometryError, StructureError: They do not go together.
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
    """Return the text of a structure's ``orca.inp``.

    Args:
        campaign: The settings.
        record: The structure.
        token: Token of the attempt that will run it; None for a preview.
        structure: Structure with the geometry to start from, if that is not the row's.
        settings: Changed input settings, if they are not the campaign's.
        remedy: Name of the changes, for a comment.

    Raises:
        InputRefused, GeometryError, StructureError: Structure and settings do not go together, or the stand-in engine
            cannot run the input.
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
        _check_standin_input(text)
    return text


def _check_standin_input(text: str) -> None:
    """Refuse an input that the stand-in engine would end with an error.

    Raises:
        InputRefused: The engine's own message; for a missing oxidation state, where the input gets it from.
    """
    try:
        surrogate_of(read_input(text))
    except OxidationStateError as error:
        raise InputRefused(
            f"{', '.join(error.actinides)}: the stand-in engine needs the oxidation state of an actinide: name a"
            " column metal_ox or oxidation_state under annotate, with a whole number in this row",
            kind="actinide without an oxidation state, which the stand-in engine needs",
        ) from None
    except InputError as error:
        message = " ".join(str(error).split())
        raise InputRefused(message, kind="what the stand-in engine cannot compute") from None
