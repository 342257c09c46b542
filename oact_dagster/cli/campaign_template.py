"""The text of the files that ``oact init`` writes."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from oact_dagster.campaign import Campaign, LauncherSettings, OrcaSettings, RetrySettings

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
csv: @csv  # may only grow at its end once it is taken in

# Columns of the CSV.
geometry_column: @geometry_column  # `El x y z` lines in Å, or XYZ with its count and comment line
charge_column: @charge_column  # whole numbers; null: 0 for all
spin_column: @spin_column  # unpaired electrons (multiplicity - 1); null: 0 for all
annotate: @annotate  # columns written into orca.inp as comments

ledger: @ledger  # SQLite: the truth about every structure; on a local disk
jobs_dir: @jobs_dir
job_dir_pattern: @job_dir_pattern  # with {orig_index} (row of the CSV, from 0) or {id} (row of the ledger)
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
  kind: @launcher.kind  # local: processes on this machine
  max_workers: @launcher.max_workers  # calculations at once
  job_timeout_s: @launcher.job_timeout_s  # time limit of one calculation, s
  stop_grace_s: @launcher.stop_grace_s  # time that running calculations get to end after Ctrl+C, s
  environment: @launcher.environment  # variables for each calculation: {LD_LIBRARY_PATH: /opt/openmpi/lib}

# Budgets of each structure.
retry:
  max_failures: @retry.max_failures  # failed and timed-out attempts in all, 1 or more
  max_losses: @retry.max_losses  # lost attempts (killed, node died) in all, 1 or more
"""


def campaign_text(
    *,
    name: str,
    csv: str,
    geometry_column: str,
    charge_column: str | None,
    spin_column: str | None,
    annotate: Sequence[str],
    orca_command: str,
) -> str:
    """The text of a ``campaign.yaml`` with all settings, their defaults, and what is allowed."""
    values: dict[str, Any] = {
        **_defaults(Campaign, ""),
        **_defaults(OrcaSettings, "orca."),
        **_defaults(LauncherSettings, "launcher."),
        **_defaults(RetrySettings, "retry."),
        "name": name,
        "csv": csv,
        "geometry_column": geometry_column,
        "charge_column": charge_column,
        "spin_column": spin_column,
        "annotate": list(annotate),
        "orca.command": orca_command,
    }
    return re.sub(r"@([a-z_.]*[a-z_])", lambda match: _yaml(values[match[1]]), _TEMPLATE)


def _defaults(model: type[BaseModel], prefix: str) -> dict[str, Any]:
    return {
        prefix + name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def _yaml(value: Any) -> str:
    """A value in YAML, on one line. What JSON writes is YAML too."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    if value is None or isinstance(value, (bool, int, float, dict)):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    # Braces and commas would be read as YAML's own inside of a list.
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)
