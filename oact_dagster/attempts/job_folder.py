"""Writing the folder of an attempt: always a new one, complete or not at all."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from oact_dagster.attempts.attempt_folders import mark_input_only, retire
from oact_dagster.attempts.engine import Engine
from oact_dagster.attempts.input_text import input_text
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.next_attempt import NextAttempt
from oact_dagster.attempts.setup_hook import SetupFunc, run_setup
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    INPUT_FILE,
    SIGN_OF_LIFE_S,
    AttemptSpec,
    spec_text,
)
from oact_dagster.ledger.states import Claim, JobRecord, Preparation, StructureRecord
from oact_dagster.orca.inputs.writer import RESTART_FILE, input_hash
from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_files import job_file
from oact_dagster.schedulers.job_script import whole_minutes
from oact_dagster.settings.campaign import Campaign

_UNBOUND_MPI: Final = {
    # Each mpirun assumes that it is alone on the node and binds its ranks to the first cores: four ORCAs on 64 cores
    # then share 16. Unbound ranks stay on the cores of the worker that started them.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    # mpirun also counts slots in whole cores, and starts nothing if a worker's cores are hardware threads.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""Open MPI 4 reads the first of each pair, Open MPI 5 the second; other MPIs read none of them."""

_MAXCORE = re.compile(r"^%maxcore (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder that is ready to be run or inspected."""

    folder: Path
    input_hash: str
    """The data version of the input."""
    setup: str | None
    """String returned by ``setup_func``, which is part of the data version."""


class FolderWriter:
    """Writes the job folders of a campaign.

    Args:
        campaign: The settings.
        layout: Where the folders are.
        setup: The user's ``setup_func``, called with each folder before that gets its final name.
    """

    def __init__(self, campaign: Campaign, layout: JobLayout, setup: SetupFunc | None = None) -> None:
        self._campaign = campaign
        self._layout = layout
        self._setup = setup

    def attempt(
        self,
        claim: Claim,
        coming: NextAttempt,
        engine: Engine,
        pipes: Mapping[str, str],
        progress_s: float = 0.0,
    ) -> Preparation:
        """Write the folder of a new attempt; an existing folder is renamed first.

        Args:
            claim: The structure and the attempt's token.
            coming: What to run.
            engine: The engine that runs it.
            pipes: What the payload needs to write messages.
            progress_s: Time between two progress messages, s; 0 for none.

        Raises:
            InputRefused, GeometryError, StructureError: Nothing was written.
            SetupError: ``setup_func`` raised; nothing was left behind.
            OSError: The folder could not be written; nothing half-written replaces the old one.
        """
        record, launcher = claim.structure, self._campaign.launcher
        text = self._text(record, coming, claim.token)
        spec = AttemptSpec(
            token=claim.token,
            attempt=claim.attempt,
            orig_index=record.orig_index,
            command=engine.command,
            n_cores=coming.settings.n_cores,
            time_limit_s=coming.time_limit_s - launcher.margin_s(coming.time_limit_s),
            stop_grace_s=launcher.stop_grace_s,
            # The user's variables come last and win.
            environment={**(_UNBOUND_MPI if launcher.workers_are_bound else {}), **launcher.environment},
            pipes=dict(pipes),
            scratch_dir=launcher.scratch_dir,
            scratch_save_mb=launcher.scratch_save_mb,
            progress_s=progress_s,
            # Several signs of life must fit into the time after which the job would count as lost.
            sign_of_life_s=max(1.0, min(SIGN_OF_LIFE_S, launcher.grace_s / 3)),
        )
        maxcore = _maxcore(text)
        files = {ATTEMPT_FILE: spec_text(spec), **self._script(record, coming, text, engine, claim.token)}
        made = self._write(record, text, files, claim.token, coming.orbitals)
        return Preparation(
            token=claim.token,
            job_dir=str(made.folder),
            input_hash=made.input_hash,
            n_cores=coming.settings.n_cores,
            remedy=coming.plan.remedy,
            plan=coming.kept(maxcore, made.setup),
        )

    def input_only(self, record: StructureRecord) -> Prepared:
        """Write a structure's plain input into its folder for inspection, without an attempt.

        Raises:
            InputRefused, GeometryError, StructureError, SetupError, OSError: As for :meth:`attempt`.
        """
        text = input_text(self._campaign, record, None)
        return self._write(record, text, {}, f"input-{os.getpid()}", None)

    def preview(self, record: StructureRecord, coming: NextAttempt, engine: Engine) -> Prepared:
        """Write the input of an attempt and the script that submits it by hand, without making an attempt.

        Raises:
            InputRefused, GeometryError, StructureError, SetupError, OSError: As for :meth:`attempt`.
        """
        text = self._text(record, coming, None)
        script = self._script(record, coming, text, engine, None)
        return self._write(record, text, script, f"input-{os.getpid()}", coming.orbitals)

    def _text(self, record: StructureRecord, coming: NextAttempt, token: str | None) -> str:
        return input_text(
            self._campaign,
            record,
            token,
            structure=coming.structure,
            settings=coming.settings,
            remedy=coming.plan.remedy,
        )

    def _script(
        self, record: StructureRecord, coming: NextAttempt, text: str, engine: Engine, token: str | None
    ) -> dict[str, str]:
        launcher, n_cores = self._campaign.launcher, coming.settings.n_cores
        memory_mb = launcher.memory_request_mb(_maxcore(text), n_cores)
        # No hosts to avoid: a submit first asks the scheduler which of them it has, and a wrong one is refused.
        request = ResourceRequest(n_cores, whole_minutes(coming.time_limit_s), memory_mb)
        folder = self._layout.folder(record.orig_index, record.id, record.job_dir)
        return job_file(launcher, folder, request, [*engine.command, INPUT_FILE], token)

    def setup_of(self, record: StructureRecord) -> str | None:
        """Return what ``setup_func`` now returns for a structure, called with a temporary folder.

        Raises:
            InputRefused, GeometryError, StructureError, SetupError, OSError: As for :meth:`attempt`.
        """
        if self._setup is None:
            return None
        folder = self._layout.folder(record.orig_index, record.id, record.job_dir)
        files = {INPUT_FILE: input_text(self._campaign, record, None)}
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as fresh:
            (Path(fresh) / INPUT_FILE).write_text(files[INPUT_FILE], encoding="utf-8")
            return run_setup(self._setup, Path(fresh), _job_record(record, folder), files)

    def _write(
        self, record: StructureRecord, text: str, more: Mapping[str, str], mark: str, orbitals: Path | None
    ) -> Prepared:
        folder = self._layout.folder(record.orig_index, record.id, record.job_dir)
        digest = input_hash(text)
        returned: str | None = None
        files = {INPUT_FILE: text, **more}

        def fill(fresh: Path) -> None:
            nonlocal digest, returned
            for name, content in files.items():
                (fresh / name).write_text(content, encoding="utf-8")
                if content.startswith("#!"):
                    (fresh / name).chmod(0o755)
            if orbitals is not None:
                # Copied, since ORCA writes its own .gbw while it reads this one, and a remaining process of the
                # earlier attempt may still write to the original.
                shutil.copyfile(orbitals, fresh / RESTART_FILE)
            if self._setup is not None:
                returned = run_setup(self._setup, fresh, _job_record(record, folder), files)
                if returned is not None:
                    digest = hashlib.sha256(f"{digest}\n{returned}".encode()).hexdigest()[:16]
                if not more:
                    # Without the mark, the user's files would make this look like a folder that was worked in.
                    mark_input_only(fresh)

        _replace(folder, fill, mark)
        return Prepared(folder, digest, returned)


def _job_record(structure: StructureRecord, folder: Path) -> JobRecord:
    """Return a structure without a result as the user's own functions see it."""
    return JobRecord(
        id=structure.id,
        orig_index=structure.orig_index,
        elements=structure.elements,
        natoms=structure.natoms,
        status=structure.status,
        charge=structure.charge,
        spin=structure.multiplicity,
        geometry=structure.geometry,
        job_dir=str(folder),
        error_message=structure.error_message,
        fail_count=structure.fail_count,
    )


def _maxcore(text: str) -> int | None:
    """Return the memory per process that an input asks for, MB."""
    found = _MAXCORE.search(text)
    return int(found[1]) if found else None


def _replace(folder: Path, fill: Callable[[Path], None], mark: str) -> None:
    """Make a folder under another name and then move it into place, so that it is never incomplete there."""
    fresh = folder.with_name(f".{folder.name}.{mark}")
    try:
        try:
            fresh.mkdir()
        except FileNotFoundError:
            folder.parent.mkdir(parents=True, exist_ok=True)
            fresh.mkdir()
        fill(fresh)
        retire(folder)
        fresh.rename(folder)
    except BaseException:
        # Also when the run is interrupted, since nobody would ever look for this folder.
        shutil.rmtree(fresh, ignore_errors=True)
        raise
