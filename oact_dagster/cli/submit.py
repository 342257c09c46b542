"""``oact submit``."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from oact_dagster.cli.environment import shown_path
from oact_dagster.cli.errors import EXIT_INTERRUPTED, EXIT_REFUSED, RefusedError, warn
from oact_dagster.cli.ledger_argument import found_ledger
from oact_dagster.cli.submit_options import (
    job_settings,
    orca_flags,
    submit_options,
    without_effect,
    worker_settings,
)
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS, scheduler_names
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.attempts.events import Event
    from oact_dagster.attempts.submission import Submitted
    from oact_dagster.cli.tally import Tally
    from oact_dagster.ledger.reader import LedgerReader
    from oact_dagster.ledger.store import Ledger
    from oact_dagster.settings.campaign import Campaign

_EXAMPLE: Final = """\
\b
Exit code: 0 if all were submitted (with --use-parsl: completed) or there was nothing to
submit; 1 if some were not; 2 if none could be; 130 after Ctrl+C, which leaves submitted jobs
in the queue.

\b
Example:
  oact submit workflow.db jobs/ --scheduler flux --batch-size 100 --n-cores 4 --n-hours 2 \\
      --queue pbatch --allocation my_bank --orca-path /opt/orca/orca
  oact submit workflow.db jobs/ --use-parsl --batch-size 100 --max-workers 4 \\
      --cores-per-worker 16 --job-timeout 7200
  oact submit campaign.yaml --max-in-flight 500
"""

EXIT_NOT_ALL: Final = 1
DEFAULT_BATCH: Final = 10
DEFAULT_HOURS: Final = 2.0
DEFAULT_WORKERS: Final = 4
DEFAULT_CORES_PER_WORKER: Final = 16
_SHOWN: Final = 10


@click.command(epilog=_EXAMPLE)
@click.argument("db", metavar="DB|CAMPAIGN")
@click.argument("jobs_dir", metavar="JOBS_DIR", required=False, type=click.Path(path_type=Path))
@submit_options
@click.pass_context
def submit(ctx: click.Context, /, db: str, jobs_dir: Path | None, **flags: Any) -> None:
    """Submit structures to Slurm or Flux.

    Submits structures that are to be run, and returns; with --use-parsl, runs them on this node. Flags you leave out
    come from the campaign.yaml next to DB, then from the defaults. JOBS_DIR may be left out for a campaign; its CSV is
    taken in first if there is no ledger yet. `oact dashboard DB --update JOBS_DIR` records the results, and any later
    run of the campaign follows the jobs.
    """
    ledger, beside = found_ledger(db)
    jobs = jobs_dir or (beside.jobs_dir if beside is not None else None)
    if jobs is None:
        raise click.UsageError("name the JOBS_DIR, too: there is no campaign.yaml beside the ledger")
    for flag in without_effect(flags):
        warn(f"{flag} has no effect {'with' if flags['use_parsl'] else 'without'} --use-parsl")
    campaign = _settings(ledger, jobs, beside, flags)
    if beside is not None:
        _take_in_first(beside)
    if flags["dry_run"]:
        ctx.exit(_dry_run(ledger, campaign, flags))
    ctx.exit(_submit(ledger, campaign, beside, flags))


def _take_in_first(campaign: "Campaign") -> None:
    """Make the ledger of a new campaign.

    Raises:
        IntakeRefused: the whole CSV is refused; no ledger is left behind.
    """
    from oact_dagster.cli.bar import bar_on_stderr
    from oact_dagster.cli.foreground import intake_lines
    from oact_dagster.intake.ingestion import ingest_campaign

    if campaign.ledger.exists():
        return
    click.echo(f"taking in {campaign.csv_file}")
    with bar_on_stderr("taking in") as progress:
        ingest_campaign(campaign, progress)
    for line in intake_lines(campaign):
        click.echo(line)


def _settings(ledger: Path, jobs: Path, beside: "Campaign | None", flags: dict[str, Any]) -> "Campaign":
    from oact_dagster.attempts.submission import WITHOUT_LIMIT, node_settings
    from oact_dagster.intake.bare_campaign import campaign_with
    from oact_dagster.settings.campaign import checked_profile, load_campaign

    orca = orca_flags(flags)
    if flags["use_parsl"]:
        on_node = beside is not None and beside.launcher.kind_facts.program is None
        cores = flags["cores_per_worker"] or flags["n_cores"]
        if cores is None and beside is None:
            cores = DEFAULT_CORES_PER_WORKER
        if flags["n_cores"] is not None and flags["n_cores"] != cores:
            warn(f"--n-cores {flags['n_cores']} is overridden by --cores-per-worker {cores}")
        launcher = worker_settings(flags) | node_settings(
            flags["max_workers"] or (None if on_node else DEFAULT_WORKERS), cores, flags["job_timeout"]
        )
    else:
        cores = flags["n_cores"]
        launcher = job_settings(flags)
        site: dict[str, Any] = {}
        if flags["profile"] is not None and beside is not None:
            beside = load_campaign(beside.file, flags["profile"])
        elif flags["profile"] is not None:
            site = dict(checked_profile(flags["profile"]).launcher)
            launcher["profile"] = flags["profile"]
        launcher["kind"] = flags["scheduler"] or _scheduler(
            beside.launcher.kind if beside else site.get("kind")
        )
        if beside is None and site.keys().isdisjoint(("n_hours", "job_timeout_s")):
            launcher.setdefault("n_hours", DEFAULT_HOURS)
    if cores is not None:
        orca["n_cores"] = cores
    # Without a campaign, nobody has set a budget.
    budget = flags["max_fail_count"] or (WITHOUT_LIMIT if beside is None else None)
    return campaign_with(
        beside,
        ledger,
        jobs,
        job_dir_pattern=flags["job_dir_pattern"],
        orca=orca,
        launcher=launcher,
        retry={} if budget is None else {"max_failures": budget},
        max_in_flight=flags["max_in_flight"],
    )


def _scheduler(settings: str | None) -> str:
    """The default scheduler: that of the settings, else the first one on PATH, else Flux."""
    names = scheduler_names()
    if settings in names:
        return settings
    return next((name for name in names if shutil.which(str(LAUNCHER_KINDS[name].program))), "flux")


def _chosen(reader: "LedgerReader", campaign: "Campaign", flags: dict[str, Any]) -> list[int]:
    """The structures to submit; if there are none, print why."""
    from oact_dagster.attempts.submission import choose, room_for
    from oact_dagster.ledger.states import FAILED_STATUSES, WAITING_STATUSES, Status

    wanted, counts = flags["batch_size"] or DEFAULT_BATCH, reader.figures.count_by_status()
    room = wanted if flags["use_parsl"] else room_for(campaign, counts, wanted)
    retry = campaign.retry
    chosen = choose(
        reader,
        room,
        max_failures=retry.max_failures,
        max_losses=retry.max_losses,
        randomize=flags["randomize"],
    )
    if chosen:
        return chosen
    ready = sum(counts.get(status, 0) for status in WAITING_STATUSES)
    if not room:
        busy = counts.get(Status.RUNNING, 0)
        do = "runs or waits" if busy == 1 else "run or wait"
        why = f"{busy} {do} already, and max_in_flight is {campaign.max_in_flight}"
    elif ready:
        held = (
            "is to_run, but is held, still runs, or has used up its budget"
            if ready == 1
            else "are to_run, but are held, still run, or have used up their budget"
        )
        why = f"{ready} {held} (`oact dashboard` shows which)"
    else:
        why = "no structure is to_run"
    click.echo(f"nothing to submit: {why}")
    failed = sum(counts.get(status, 0) for status in FAILED_STATUSES)
    if failed:
        click.echo(
            f"{failed} {'has' if failed == 1 else 'have'} failed or timed out:"
            f" `oact dashboard {shown_path(reader.path)} --reset-failed --include-timeout-in-reset` sets them back"
        )
    return []


def _dry_run(ledger: Path, campaign: "Campaign", flags: dict[str, Any]) -> int:
    from oact_dagster.attempts.job_layout import jobs_dir_refused
    from oact_dagster.attempts.submission import preview
    from oact_dagster.ledger.read_only import open_reader

    if problem := jobs_dir_refused(campaign.jobs_dir):
        raise RefusedError(problem)
    of_reason: defaultdict[str, list[int]] = defaultdict(list)
    written = 0
    with open_reader(ledger) as reader:
        chosen = _chosen(reader, campaign, flags)
        for one in preview(campaign, reader, chosen):
            if one.refused is None:
                written += 1
            else:
                of_reason[one.refused].append(one.orig_index)
    if chosen:
        click.echo(
            f"{pluralise(written, 'folder')} written in {shown_path(campaign.jobs_dir)}; nothing was submitted, and no"
            " status changed"
        )
    for reason, indices in sorted(of_reason.items(), key=lambda item: -len(item[1])):
        noun = "structure" if len(indices) == 1 else "structures"
        click.echo(f"oact: {len(indices)} not written ({noun} {_few(indices)}): {reason}", err=True)
    return EXIT_NOT_ALL if of_reason else 0


def _submit(ledger: Path, campaign: "Campaign", beside: "Campaign | None", flags: dict[str, Any]) -> int:
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.ledger.store import Ledger

    with open_reader(ledger) as reader:
        chosen = _chosen(reader, campaign, flags)
    if not chosen:
        return 0
    _check(campaign, beside, flags)
    with Ledger(ledger) as open_ledger:
        if flags["use_parsl"]:
            return _run_here(campaign, open_ledger, chosen, flags)
        return _hand_over(campaign, open_ledger, chosen, beside, flags)


def _check(campaign: "Campaign", beside: "Campaign | None", flags: dict[str, Any]) -> None:
    """Find everything that would stop all structures, before any is marked running.

    Raises:
        RefusedError: with a line for each problem.
    """
    from oact_dagster.cli.foreground import check_before

    check_before(campaign, "--orca-path" if beside is None and flags["orca_path"] is None else "")
    kind, program = campaign.launcher.kind, campaign.launcher.kind_facts.program
    if program is not None and shutil.which(program) is None:
        raise RefusedError(
            f"{program}: no such program on PATH; submit where {kind} is installed, name another --scheduler, run here"
            " with --use-parsl, or write the scripts only with --dry-run"
        )
    if beside is not None and program is not None:
        if beside.launcher.kind != kind:
            warn(
                f"{beside.file}: launcher.kind is {beside.launcher.kind}: `oact run` follows these jobs only once it is"
                f" {kind}"
            )
        if beside.jobs_dir != campaign.jobs_dir:
            warn(f"{beside.file}: jobs_dir is {beside.jobs_dir}, but these jobs run in {campaign.jobs_dir}")


def _run_here(campaign: "Campaign", ledger: "Ledger", chosen: list[int], flags: dict[str, Any]) -> int:
    from oact_dagster.attempts.submission import submit_structures as run
    from oact_dagster.cli.progress import make_progress

    with make_progress() as progress:
        done = run(campaign, ledger, chosen, follow=True, take_over=flags["take_over"], watch=progress.watch)
    problems = _tell_problems(done, progress.tally)
    if done.stopped:
        click.echo("oact: interrupted; the same command continues where it stopped", err=True)
    return _exit_code(done, problems, progress.tally)


def _hand_over(
    campaign: "Campaign",
    ledger: "Ledger",
    chosen: list[int],
    beside: "Campaign | None",
    flags: dict[str, Any],
) -> int:
    from oact_dagster.attempts.events import Note
    from oact_dagster.attempts.submission import submit_structures as hand_over
    from oact_dagster.cli.tally import Tally

    tally = Tally()

    def watch(event: "Event") -> None:
        tally.add(event)
        if isinstance(event, Note):
            click.echo(f"oact: {event.text}" if event.warning else event.text, err=event.warning)

    done = hand_over(campaign, ledger, chosen, follow=False, take_over=flags["take_over"], watch=watch)
    kind = campaign.launcher.kind
    click.echo(f"submitted {len(done.begun)} of {pluralise(len(chosen), 'structure')} to {kind}")
    if done.begun:
        click.echo(f"  structures: {_few(sorted(done.begun))}")
    if done.job_ids:
        click.echo(f"  jobs: {_few(done.job_ids)}")
        update = f"oact dashboard {shown_path(ledger.path)} --update {shown_path(campaign.jobs_dir)}"
        follow = f", or `oact run {shown_path(beside.file)}` follows them" if beside is not None else ""
        click.echo(f"  to record what has ended: {update}{follow}")
        click.echo(f"  to cancel them: {done.how_to_cancel}")
    problems = _tell_problems(done, tally)
    if done.stopped:
        click.echo("oact: interrupted; submitted jobs stay in the queue", err=True)
    return _exit_code(done, problems, tally)


def _tell_problems(done: "Submitted", tally: "Tally") -> bool:
    lines = [] if done.stopped else tally.problem_lines(str(done.problem or ""))
    for line in lines:
        click.echo(f"oact: {' '.join(line.split())}", err=True)
    return bool(lines)


def _exit_code(done: "Submitted", problems: bool, tally: "Tally") -> int:
    if done.stopped:
        return EXIT_INTERRUPTED
    if not (done.begun or tally.failed or tally.owned):
        return EXIT_REFUSED
    return EXIT_NOT_ALL if problems else 0


def _few(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:_SHOWN])) + (", ..." if len(values) > _SHOWN else "")
