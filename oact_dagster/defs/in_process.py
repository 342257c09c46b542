"""Running a campaign's assets in this process: what ``oact run`` and ``oact demo`` do."""

from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRunStatus, ExecuteInProcessResult

from oact_dagster.campaign import Campaign
from oact_dagster.definitions import for_campaign
from oact_dagster.defs.batch_step import Watch
from oact_dagster.defs.instance import dagster_home
from oact_dagster.defs.keys import CampaignKeys


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run in this process ended."""

    run_id: str
    success: bool
    cancelled: bool
    message: str
    """Why it did not succeed, in one line; empty when it did."""


def run_intake(campaign: Campaign) -> RunEnd:
    """Materialize ``intake``: take the CSV in, and register the partition keys."""
    definitions = for_campaign(campaign.file)
    job = definitions.resolve_implicit_global_asset_job_def()
    with DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[CampaignKeys.of(campaign).intake], raise_on_error=False
        )
        return _end(instance, result)


def run_selection(
    campaign: Campaign,
    select: str,
    *,
    limit: int | None = None,
    ignore_budget: bool = False,
    watch: Watch | None = None,
) -> RunEnd:
    """Run the job ``run_structures``.

    Args:
        campaign: the settings.
        select: see :func:`oact_dagster.execution.selection.resolve`.
        limit: at most so many structures.
        ignore_budget: run also what has used up its budget.
        watch: told of each event of the batch.
    """
    name = "_".join([*campaign.asset_prefix, "run_structures"])
    job = for_campaign(campaign.file, watch=watch).resolve_job_def(name)
    op = "_".join([*campaign.asset_prefix, "run_selected"])
    config = {"select": select, "ignore_budget": ignore_budget} | ({} if limit is None else {"limit": limit})
    with DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        result = job.execute_in_process(
            instance=instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
        )
        return _end(instance, result)


def _end(instance: DagsterInstance, result: ExecuteInProcessResult) -> RunEnd:
    run = instance.get_run_by_id(result.run_id)
    status = run.status if run is not None else DagsterRunStatus.FAILURE
    message = ""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            # A Failure of ours speaks for itself; anything else is shown with its type.
            told = data.user_failure_data.description if data.user_failure_data is not None else None
            message = told or (data.error.message.strip() if data.error is not None else "the step failed")
    return RunEnd(
        run_id=result.run_id,
        success=status is DagsterRunStatus.SUCCESS,
        cancelled=status is DagsterRunStatus.CANCELED,
        message=message,
    )
