"""The setting ``setup_func``: a user's own function that adds files to each new job folder."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from oact_dagster.errors import CampaignError, SetupError
from oact_dagster.ledger.states import JobRecord
from oact_dagster.settings.campaign import Campaign

SetupFunc = Callable[[Path, JobRecord], Any]
"""Called with the new folder and the structure; a returned string becomes part of the input's data version."""


def load_setup_func(campaign: Campaign) -> SetupFunc | None:
    """Import the function that ``setup_func`` names, or return None; modules beside ``campaign.yaml`` are found too.

    Raises:
        CampaignError: The module or function does not exist, importing it raised, or the function cannot be called
            with a folder and a record.
    """
    if campaign.setup_func is None:
        return None
    module_name, _, name = campaign.setup_func.partition(":")
    where = f"{campaign.file}: setup_func: {campaign.setup_func}"
    try:
        module = _load(module_name, campaign.folder)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise CampaignError(f"{where}: the module needs {error.name}, which is not installed") from None
        raise CampaignError(
            f"{where}: no module {module_name}; put {module_name.replace('.', '/')}.py beside"
            f" {campaign.file.name}, or install it"
        ) from None
    except Exception as error:
        raise CampaignError(f"{where}: cannot be imported: {_one_line(error)}") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise CampaignError(f"{where}: {module_name} has no function {name}")
    _check_arguments(function, where)
    return function  # type: ignore[no-any-return]


def _check_arguments(function: Callable[..., Any], where: str) -> None:
    """Raise CampaignError if a function does not accept two arguments, without calling it."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a function that is not written in Python may have no signature
    try:
        signature.bind(None, None)
    except TypeError:
        raise CampaignError(
            f"{where}: takes {signature}, but it is called with two arguments, the job folder and the job's record;"
            f" write def {getattr(function, '__name__', 'add_files')}(job_dir, job_record)"
        ) from None


def run_setup(function: SetupFunc, folder: Path, record: JobRecord, guarded: Mapping[str, str]) -> str | None:
    """Call a user's function, and return the string that it returned, or None.

    Args:
        function: The user's function.
        folder: The new job folder, still under a temporary name; the final one is ``record.job_dir``.
        record: Record of the structure.
        guarded: Content by name of the files that the function must not change.

    Raises:
        SetupError: The function raised, or changed a guarded file.
    """
    try:
        returned = function(folder, record)
    except (Exception, SystemExit) as error:
        # Show the folder's final name instead of its temporary one.
        told = _one_line(error).replace(str(folder), record.job_dir or str(folder))
        raise SetupError(f"setup_func: {told}") from error
    for name, text in guarded.items():
        try:
            unchanged = (folder / name).read_text(encoding="utf-8") == text
        except (OSError, UnicodeDecodeError):
            unchanged = False
        if not unchanged:
            raise SetupError(
                f"setup_func changed {name}, which must stay as it was written; put lines of your own for the input"
                " into orca.extra_lines"
            )
    return returned if isinstance(returned, str) else None


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _load(name: str, folder: Path) -> ModuleType:
    """Import a module, from the campaign's folder if it is there."""
    if str(folder) not in sys.path:
        # At the end, so that files beside a campaign hide no installed module. It stays there for imports that the
        # user's function makes when it is called.
        sys.path.append(str(folder))
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    if not file.is_file():
        return importlib.import_module(name)
    # Two campaigns of one Dagster process may each have a module of this name.
    alias = f"oact_setup_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(alias, file)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name=name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
