"""The text of the files that ``oact init`` writes."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from oact_dagster.orca.remedies.next_input import STEPS
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.feed import FeedSettings
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster.settings.notify import NotifySettings
from oact_dagster.settings.orca import OrcaSettings
from oact_dagster.settings.profiles import Profile
from oact_dagster.settings.quality import QualitySettings
from oact_dagster.settings.retry import RetrySettings

DEFINITIONS: Final = """\
from pathlib import Path

from oact_dagster.definitions import for_campaign

defs = for_campaign(Path(__file__).parent)
"""
"""``definitions.py``: what Dagster loads where several campaigns share one instance."""

_PLAIN: Final = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+\-{}]*")
_NOT_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "."})

_TEMPLATE: Final = """\
# A campaign: one CSV, one ledger, one jobs folder, one level of theory.
# Relative paths are relative to this file. From `ledger` on the values below are the defaults, and all but orca.command
# may be left out.

name: @name  # letters, digits and _; it names the partitions in Dagster
csv: @csv  # may only grow at its end once it is taken in; null: the structures are in the ledger already

# Columns of the CSV.
geometry_column: @geometry_column  # `El x y z` lines in Å, or XYZ with its count and comment line
charge_column: @charge_column  # whole numbers; null: 0 for all
spin_column: @spin_column  # unpaired electrons (multiplicity - 1); null: 0 for all
annotate: @annotate  # columns written into orca.inp as comments; of actinides standin needs metal_ox

ledger: @ledger  # SQLite: the truth about every structure; on a local disk
jobs_dir: @jobs_dir
job_dir_pattern: @job_dir_pattern  # with {orig_index} (row of the CSV, from 0) or {id} (row of the ledger)
owners: @owners  # whom the web page shows as owners: addresses, or teams such as team:actinides
asset_prefix: @asset_prefix  # for example [project, batch1]: needed where campaigns share one Dagster instance
batch_size: @batch_size  # structures claimed at once
max_in_flight: @max_in_flight  # structures of a run that are claimed at a time

# The level of theory; the first run fixes it for the ledger.
orca:
  command: @orca.command  # absolute path of the orca program, or standin (NOT ORCA: for trying things out)
  functional: @orca.functional  # as ORCA names it, perhaps with more keywords: "PBE0 D4"
  simple_input: @orca.simple_input  # omol (core potentials), x2c or dk3 (all electrons)
  actinide_basis: @orca.actinide_basis  # a name or a file (.bas, .gbs); null: the template's, where it has one
  actinide_ecp: @orca.actinide_ecp  # null: the template's (omol: def-ECP); no ECP with x2c and dk3
  non_actinide_basis: @orca.non_actinide_basis  # a name or a file
  scf_maxiter: @orca.scf_maxiter  # 1 or more; null: the template's
  nbo: @orca.nbo  # natural bond orbitals (needs the NBO program)
  mbis: @orca.mbis  # MBIS charges
  kdiis: @orca.kdiis  # KDIIS in place of DIIS
  opt: @orca.opt  # optimise the geometry; false: one energy and gradient
  uks_singlet: @orca.uks_singlet  # broken-symmetry start for singlets
  n_cores: @orca.n_cores  # cores of one calculation
  maxcore: @orca.maxcore  # MB for each process, 100 or more; null: estimated from the basis
  extra_lines: @orca.extra_lines  # for example ["%geom MaxIter 99 end"]

# How calculations are run.
launcher:
  profile: @launcher.profile  # a site's settings, of ~/.config/oact/profiles.yaml; what is not null here wins
  kind: @launcher.kind  # local: processes on this machine; parsl: its workers; slurm or flux: jobs of the scheduler
  job_timeout_s: @launcher.job_timeout_s  # time limit of one calculation, s
  n_hours: @launcher.n_hours  # the same in hours, in place of job_timeout_s; null: job_timeout_s holds
  max_job_timeout_s: @launcher.max_job_timeout_s  # longest limit of a retry (the queue's), s; null: no limit
  memory_mb: @launcher.memory_mb  # MB for one calculation with all its processes (the node's); null: no limit
  stop_grace_s: @launcher.stop_grace_s  # time that running calculations get to end after Ctrl+C, s
  environment: @launcher.environment  # variables for each calculation: {LD_LIBRARY_PATH: /opt/openmpi/lib}
  resources: @launcher.resources  # by size: [{max_atoms: 30, n_cores: 4, n_hours: 2}, {max_atoms: 60, n_cores: 8}]
  scratch_dir: @launcher.scratch_dir  # of the node, to run in: $TMPDIR; null: they run in their job folders
  scratch_save_mb: @launcher.scratch_save_mb  # so much comes back from there into the job folder, MB
  progress_interval_s: @launcher.progress_interval_s  # between two log lines of a running calculation; null: none
  # With kind local or parsl.
  max_workers: @launcher.max_workers  # calculations at once; with parsl on each node
  # With kind parsl: several calculations side by side in an allocation. docs/parsl.md tells more.
  cores_per_worker: @launcher.cores_per_worker  # cores of each, in place of orca.n_cores; null: those
  cpu_affinity: @launcher.cpu_affinity  # cores that each keeps to: block, block-reverse, alternating or none
  oversubscribe: @launcher.oversubscribe  # true: more cores in all than the node offers
  worker_init: @launcher.worker_init  # lines of bash before the workers start, after setup_lines
  heartbeat_period_s: @launcher.heartbeat_period_s  # how often workers are looked for, s
  heartbeat_threshold_s: @launcher.heartbeat_threshold_s  # silent for so long they count as lost, s
  allocation_end: @launcher.allocation_end  # such as 2030-01-31T18:00:00; null: as Slurm or Flux say
  provider: @launcher.provider  # local: this allocation or node; slurm: blocks of nodes that Parsl asks for
  block_hours: @launcher.block_hours  # with provider slurm, as those that follow: time limit of a block, h
  init_blocks: @launcher.init_blocks  # at the start
  min_blocks: @launcher.min_blocks  # also when there is little to do
  max_blocks: @launcher.max_blocks  # at a time
  nodes_per_block: @launcher.nodes_per_block
  address: @launcher.address  # IP address of this host that the nodes can reach: 10.0.0.1; null: they try all it has
  worker_ports: @launcher.worker_ports  # first and last of this host's ports that are open to the nodes
  # With kind slurm or flux, to run many structures in a few jobs of a whole node each (pilots).
  per_job: @launcher.per_job  # parsl: each job is a pilot with max_workers; null: a job for each structure
  jobs: @launcher.jobs  # pilots at once
  idle_s: @launcher.idle_s  # how long a pilot waits for more when nothing is left to run, s
  # With kind slurm or flux.
  queue: @launcher.queue  # partition (Slurm) or queue (Flux); null: the default one
  qos: @launcher.qos  # Slurm: quality of service; null: the default one
  allocation: @launcher.allocation  # account (Slurm) or bank (Flux); null: the default one
  mem: @launcher.mem  # Slurm: MB of a job; auto: what its input needs; none: what the queue gives
  constraint: @launcher.constraint  # features that a node must have
  extra_directives: @launcher.extra_directives  # more options of sbatch or flux submit: ["--exclusive"]
  modules: @launcher.modules  # loaded by each job: [openmpi/4.1.8]
  conda_env: @launcher.conda_env  # activated by each job
  conda_base: @launcher.conda_base  # folder where conda is installed; null: the one on the job's PATH
  setup_lines: @launcher.setup_lines  # lines of bash that each job runs first
  poll_interval_s: @launcher.poll_interval_s  # time between two looks at the queue, s
  command_timeout_s: @launcher.command_timeout_s  # time limit of each call of a scheduler's command, s
  silence_limit_s: @launcher.silence_limit_s  # a running calculation silent for so long is ended as timed out, s
  grace_s: @launcher.grace_s  # how long a job may be missing from the queue before it counts as lost, s
  max_array_size: @launcher.max_array_size  # most jobs submitted in one call; null: what the scheduler allows
  signal_before_limit_s: @launcher.signal_before_limit_s  # a calculation ends so long before its job's limit, s

# Budgets of each structure.
retry:
  max_failures: @retry.max_failures  # failed and timed-out attempts in all, 1 or more
  max_losses: @retry.max_losses  # lost attempts (killed, node died) in all, 1 or more
  # Of retries that nobody asked for:
  delay_s: @retry.delay_s  # time before the first one, s; it doubles each time
  longest_delay_s: @retry.longest_delay_s  # that time at most, s; up to 7 days

# How the sensors feed the campaign, and when they stop doing so.
feed:
  order: @feed.order  # given (as in the CSV), cheap_first or dear_first; among those of one priority
  priority_column: @feed.priority_column  # column of the CSV with numbers, the largest is run first; null: none
  trial: @feed.trial  # structures that are tried before the others are begun; 0: no trial
  pause_at_failure_rate: @feed.pause_at_failure_rate  # pause when a larger share of trial or last attempts failed
  window: @feed.window  # how many of the last attempts are looked at, 5 or more
  core_hours: @feed.core_hours  # budget of all attempts; when it is spent nothing more is begun; null: no budget
  interval_s: @feed.interval_s  # time between two ticks of a sensor, s; of timeouts and harvest five times that
  bad_host_after: @feed.bad_host_after  # structures lost or crashed on a host, and fewer completed, leave it out

# Who is told when the campaign pauses, has spent its budget, or is done.
notify:
  command: @notify.command  # a program that gets the text on stdin: ["mail", "-s", "ORCA", "me"]
  webhook: @notify.webhook  # address to which the text is posted as JSON: https://example.org/hook

# When a completed structure's result is called doubtful; null: not looked at.
quality:
  max_gradient: @quality.max_gradient  # limit of the largest gradient component, Eh/bohr (0.97 is 50 eV/Å)
  max_spin_contamination: @quality.max_spin_contamination  # of <S²> from S(S+1); 1.1 allows broken-symmetry singlets
  max_energy_deviation: @quality.max_energy_deviation  # from the energy of its like, in robust standard deviations
  max_bond_stretch: @quality.max_bond_stretch  # of a metal's first neighbour, as a ratio to its distance in the CSV

# What the next attempt changes, by the class of the failure, where that is not to be the default; never the level of
# theory. For example {scf_not_converged: [restart, slowconv, trah], aborted: []}. Steps:
#   @steps
remedies: @remedies
keep: @keep  # of completed structures, beside inputs and small files; [out, engrad] removes the orbitals (.gbw)
setup_func: @setup_func  # module:function, called as f(job_dir, job_record) to add files to each new job folder
"""


def campaign_text(
    *,
    name: str,
    csv: str | None,
    geometry_column: str,
    charge_column: str | None,
    spin_column: str | None,
    annotate: Sequence[str],
    orca_command: str | None,
    profile: Profile | None = None,
) -> str:
    """The text of a ``campaign.yaml`` with all settings, their defaults, and what is allowed.

    Args:
        name: of the campaign.
        csv: its path.
        geometry_column: of the CSV.
        charge_column: of the CSV; None for 0 in all rows.
        spin_column: likewise.
        annotate: columns that inputs carry.
        orca_command: None leaves it to the profile.
        profile: of the site; what it says is shown, and left to it.
    """
    values: dict[str, Any] = {
        **_defaults(Campaign, ""),
        **_defaults(OrcaSettings, "orca."),
        **_defaults(LauncherSettings, "launcher."),
        **_defaults(RetrySettings, "retry."),
        **_defaults(FeedSettings, "feed."),
        **_defaults(NotifySettings, "notify."),
        **_defaults(QualitySettings, "quality."),
        "name": name,
        "csv": csv,
        "geometry_column": geometry_column,
        "charge_column": charge_column,
        "spin_column": spin_column,
        "annotate": list(annotate),
        "orca.command": orca_command,
        "launcher.profile": None if profile is None else profile.name,
    }
    template = _TEMPLATE.replace("@steps", ", ".join(STEPS))
    text = re.sub(r"@([a-z_.]*[a-z_])", lambda match: yaml_value(values[match[1]]), template)
    if profile is None:
        return text
    left: dict[str, Any] = dict(profile.launcher)
    if left.keys() & {"n_hours", "job_timeout_s"}:
        # They are two names of one setting: either here would win over the site's.
        left = {"n_hours": None, "job_timeout_s": None, **left}
    if orca_command is None:
        left["command"] = profile.orca_command
    for key, value in left.items():
        line = f"  # {key}: {yaml_value(value)}  # left to profile {profile.name}"
        text = re.sub(rf"^  {key}: .*$", lambda _, line=line: line, text, flags=re.MULTILINE)  # type: ignore[misc]
    return text


def _defaults(model: type[BaseModel], prefix: str) -> dict[str, Any]:
    return {
        prefix + name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def yaml_value(value: Any) -> str:
    """A value in YAML, on one line. What JSON writes is YAML too."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(yaml_value, value))}]"
    if value is None or isinstance(value, (bool, int, float, dict)):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    # Braces and commas would be read as YAML's own inside of a list.
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)
