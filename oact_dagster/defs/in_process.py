"""Runs a campaign's assets in this process, for ``oact run`` and ``oact demo``."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    Field,
    InitLoggerContext,
    LoggerDefinition,
)

from oact_dagster.attempts.selection import Selection
from oact_dagster.attempts.stop_request import StopRequest, signals_stop
from oact_dagster.defs.batch_step import Watch
from oact_dagster.defs.campaign_definitions import campaign_definitions
from oact_dagster.defs.dagster_internals import open_instance
from oact_dagster.defs.dead_runs import HOST_TAG
from oact_dagster.defs.instance import dagster_home, make_instance
from oact_dagster.defs.keys import CampaignKeys, name_prefix
from oact_dagster.defs.partitions import missing_materializations
from oact_dagster.defs.storage_faults import StorageError, guarded, storage_errors
from oact_dagster.intake.csv_stamp import is_taken_in
from oact_dagster.intake.identity import check_identity
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

LOG_FILE: Final = "oact-run.log"
"""Dagster's console output, in the campaign's Dagster folder."""

# Name and settings are those of Dagster's own logger, so that a run's configuration also works in the web page.
_CONSOLE: Final = "console"
_LOGGERS: Final[dict[str, Any]] = {"loggers": {_CONSOLE: {"config": {"log_level": "DEBUG"}}}}


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run in this process ended."""

    run_id: str
    success: bool
    cancelled: bool
    message: str
    """Why it did not succeed, in one line; empty if it did."""
    without_dagster: bool = False
    """Dagster's storage was lost during the run, which ended without it."""


def needs_intake(campaign: Campaign) -> bool:
    """Whether the CSV is new or has changed, or partition keys are missing. The CSV is not read.

    Raises:
        LedgerError: the ledger cannot be used, or has other names or another level of theory.
        OSError: the CSV does not exist.
    """
    if not campaign.ledger.exists():
        return True
    with Ledger(campaign.ledger) as ledger:
        check_identity(campaign, ledger)
        if not is_taken_in(campaign, ledger):
            return True
        structures = sum(ledger.figures.count_by_status().values())
    with _instance(campaign) as instance:
        return len(instance.get_dynamic_partitions(campaign.partitions_name)) < structures


def run_intake(campaign: Campaign) -> RunEnd:
    """Materialize ``intake``: take in the CSV, and register the partition keys.

    Raises:
        OSError: the CSV does not exist, or a folder cannot be written.
    """
    job = _definitions(campaign).resolve_implicit_global_asset_job_def()
    with _instance(campaign) as instance:
        result = job.execute_in_process(
            instance=instance,
            run_config=_LOGGERS,
            tags=_here(),
            asset_selection=[CampaignKeys.of(campaign).intake],
            raise_on_error=False,
        )
        return _end(instance, result)


def count_unshown(campaign: Campaign) -> int:
    """Number of results that Dagster does not show because it never got, or lost, their events.

    Raises:
        LedgerError: the ledger cannot be used.
        StorageError: Dagster's storage cannot be used.
    """
    with Ledger(campaign.ledger) as ledger, _instance(campaign) as instance:
        return len(missing_materializations(instance, campaign, ledger))


def run_selection(
    campaign: Campaign,
    wanted: Selection,
    *,
    watch: Watch | None = None,
    stop: StopRequest | None = None,
) -> RunEnd:
    """Run the job ``run_structures``. SIGINT and SIGTERM ask it to stop; it then ends as cancelled.

    If Dagster's storage is lost during the run, the batch ends without it: calculations on this machine go on, and jobs
    of a scheduler are left to the next run.

    Args:
        campaign: the settings.
        wanted: which structures.
        watch: called with each event of the batch, in another thread than the caller's.
        stop: asks for a stop, as the signals do.

    Raises:
        OSError: a folder cannot be written.
    """
    prefix = name_prefix(campaign)
    config = {name: value for name, value in asdict(wanted).items() if value is not None}
    config["also_unshown"] = wanted.whole
    stop = stop or StopRequest()

    def run() -> RunEnd:
        job = _definitions(campaign, watch, stop).resolve_job_def(f"{prefix}run_structures")
        try:
            with _instance(campaign) as instance:
                result = job.execute_in_process(
                    instance=instance,
                    run_config={"ops": {f"{prefix}run_selected": {"config": config}}, **_LOGGERS},
                    tags=_here(),
                    raise_on_error=False,
                )
                return _end(instance, result)
        except StorageError as error:
            return RunEnd("", success=False, cancelled=False, message=str(error), without_dagster=True)

    # In the main thread, Dagster replaces our signal handlers between a step's events, and Ctrl+C would break the batch
    # off instead of asking it to stop.
    with signals_stop(stop), ThreadPoolExecutor(1, "dagster-run") as pool:
        return pool.submit(run).result()


def _definitions(
    campaign: Campaign, watch: Watch | None = None, stop: StopRequest | None = None
) -> Definitions:
    """The campaign's definitions, with a logger that writes to a file instead of the console."""
    console = _file_logger(dagster_home(campaign) / LOG_FILE)
    return Definitions.merge(
        campaign_definitions(campaign, watch, stop), Definitions(loggers={_CONSOLE: console})
    )


class _LogFile(logging.FileHandler):
    """A log whose lines may be lost, if the disk is full or the folder is removed; nothing else fails."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Print nothing."""


def _file_logger(path: Path) -> LoggerDefinition:
    def log_file(context: InitLoggerContext) -> logging.Logger:
        handler = _LogFile(path, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        # Not getLogger(), which would keep the logger and its open file until the process ends.
        logger = logging.Logger("oact", context.logger_config["log_level"])
        logger.addHandler(handler)
        return logger

    return LoggerDefinition(
        log_file,
        config_schema={"log_level": Field(str, default_value="DEBUG")},
        description=f"Writes to {path}.",
    )


def _here() -> dict[str, str]:
    return {HOST_TAG: socket.gethostname()}


@contextmanager
def _instance(campaign: Campaign) -> Iterator[DagsterInstance]:
    home = dagster_home(campaign)
    make_instance(home)
    with storage_errors(home), open_instance(home) as instance:
        guard = guarded(instance)
        try:
            yield instance
        except Exception:
            # Dagster fails later on events that it could not write.
            if guard.lost:
                raise StorageError(guard.lost) from None
            raise


def _end(instance: DagsterInstance, result: ExecuteInProcessResult) -> RunEnd:
    if lost := guarded(instance).lost:
        return RunEnd("", success=False, cancelled=False, message=lost, without_dagster=True)
    run = instance.get_run_by_id(result.run_id)
    status = run.status if run is not None else DagsterRunStatus.FAILURE
    message = ""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            # The text of our own Failure suffices; any other error is shown with its type.
            described = data.user_failure_data.description if data.user_failure_data is not None else None
            error = data.error
            # Dagster wraps an error in others that only say where it happened.
            while error is not None and error.cause is not None:
                error = error.cause
            message = described or ("the step failed" if error is None else error.message.strip())
    return RunEnd(
        run_id=result.run_id,
        success=status is DagsterRunStatus.SUCCESS,
        cancelled=status is DagsterRunStatus.CANCELED,
        message=message,
    )
