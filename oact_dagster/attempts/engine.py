"""The engine that computes: ORCA, or the stand-in engine if ``orca.command`` is ``standin``."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.errors import EngineError
from oact_dagster.orca.outputs.reader import Output
from oact_dagster.settings.campaign import STANDIN, Campaign


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that takes an ORCA input file as its last argument."""

    command: list[str]
    name: str


STANDIN_NAME = "stand-in (GFN2-xTB, NOT ORCA)"
ORCA_NAME = "ORCA"


def is_standin(engine: str) -> bool:
    """Whether an engine, by its name in the ledger, is a stand-in for ORCA."""
    return "NOT ORCA" in engine


def engine_of(output: Output) -> tuple[str, str | None]:
    """Return the name and the version of the engine that wrote an output."""
    if output.is_standin:
        # The output of the stand-in names the ORCA version whose format it imitates.
        return STANDIN_NAME, f"format of {output.orca_version}"
    return ORCA_NAME, output.orca_version


def find_engine(campaign: Campaign) -> Engine:
    """Find the campaign's engine before anything is marked running.

    An ORCA with an absolute path may exist on the nodes of a cluster only. A job that cannot start it reports that.

    Returns:
        The engine with an absolute path, without which ORCA does not find its own programs.

    Raises:
        EngineError: The engine is missing or cannot be executed.
    """
    command = campaign.orca.command
    where = f"{campaign.orca_said}: {command}"
    if command == STANDIN:
        if importlib.util.find_spec("tblite") is None:
            raise EngineError(f"{where}: needs tblite: pip install 'oact-dagster[demo]'")
        # -P: no modules are imported from the job folder.
        return Engine([sys.executable, "-P", "-m", "oact_dagster.standin"], STANDIN_NAME)
    if os.sep in command:
        path = Path(os.path.abspath(campaign.folder / Path(command).expanduser()))
    else:
        found = shutil.which(command)
        if found is None:
            raise EngineError(f"{where}: no such program on PATH; give the absolute path of orca")
        path = Path(os.path.abspath(found))
    if not path.exists():
        if not campaign.launcher.on_this_machine and Path(command).expanduser().is_absolute():
            return Engine([str(path)], ORCA_NAME)
        raise EngineError(f"{where}: no such file; give the absolute path of orca")
    if not path.is_file() or not os.access(path, os.X_OK):
        raise EngineError(f"{where}: is not an executable file; give the absolute path of orca")
    return Engine([str(path)], ORCA_NAME)
