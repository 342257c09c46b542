"""Read and check the settings of a campaign from ``campaign.yaml``.

A campaign is one CSV, one ledger, one jobs folder and one level of theory. Every key is checked. A wrong key raises a
:class:`CampaignError` whose one line names the key and what is allowed.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from oact_dagster.errors import CampaignError
from oact_dagster.orca.inputs.basis import is_file
from oact_dagster.orca.inputs.canonical_level import canonical_level
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.inputs.templates import DEFAULT_MAXITER, TEMPLATES
from oact_dagster.orca.remedies.next_input import Ladders, check_ladders
from oact_dagster.settings.base import Settings, Whole
from oact_dagster.settings.feed import FeedSettings
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster.settings.notify import NotifySettings
from oact_dagster.settings.orca import OrcaSettings
from oact_dagster.settings.profiles import ORCA_COMMAND, Profile, find_profile
from oact_dagster.settings.quality import QualitySettings
from oact_dagster.settings.retry import RetrySettings
from oact_dagster.settings.validation_errors import explain, explain_errors
from oact_dagster.settings.yaml_reader import read_settings

CAMPAIGN_FILE = "campaign.yaml"
"""The name of the settings file in a campaign's folder."""

STANDIN = "standin"
"""The value of ``orca.command`` that selects the stand-in engine instead of ORCA."""

LONGEST_FOLDER_NAME = 180
"""Bytes. File systems allow 255, but the folders of earlier attempts get longer names."""

# The number of cycles does not change which minimum an optimisation reaches.
_GEOMETRY_CYCLES = re.compile(r"\s*%geom\s+maxiter\s+\d+\s+end\s*", re.IGNORECASE)

# Dagster's own pattern.
_OWNER = r"^(team:\S+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,})$"

_SQLITE_MAGIC = b"SQLite format 3"


class Campaign(Settings):
    """All settings of a campaign. Loading makes the paths absolute."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_]+$",
        max_length=60,
        description="a name of letters, digits and _, such as demo; Dagster's partitions have it, too",
    )
    csv: Path | None = Field(
        description="the path of the CSV, which may only grow at its end after its intake; null: the structures are in"
        " the ledger already"
    )
    geometry_column: str = Field(
        default="aligned_csd_core",
        description="column of geometries: lines `El x y z` in Å, or XYZ with its count and comment line",
    )
    charge_column: str | None = Field(default="charge", description="column of charges; null: 0 for all")
    spin_column: str | None = Field(
        default="uhf", description="column of unpaired electrons (multiplicity - 1); null: 0 for all"
    )
    annotate: tuple[str, ...] = Field(
        default=(),
        description="columns to show, and to write into orca.inp as comments; for actinides standin needs metal_ox or"
        " oxidation_state",
    )
    ledger: Path = Field(
        default=Path("workflow.db"),
        description="the SQLite file that records every structure; keep it on a local disk",
    )
    jobs_dir: Path = Field(default=Path("jobs"), description="the folder of the job folders")
    job_dir_pattern: str = Field(
        default="job_{orig_index}",
        description="name of each job folder, with {orig_index} (row of the CSV, from 0) or {id} (row of the ledger)",
    )
    asset_prefix: tuple[str, ...] = Field(
        default=(),
        description="prefix of the assets' names, such as [project, batch1]; needed where campaigns share a Dagster"
        " instance",
    )
    owners: tuple[str, ...] = Field(
        default=(),
        description="owners of the assets in Dagster: addresses (me@example.org) and teams (team:actinides)",
    )
    batch_size: Whole = Field(
        default=500,
        ge=1,
        description="structures that a run claims at once; a run that a sensor starts claims no more",
    )
    max_in_flight: Whole = Field(
        default=5000, ge=1, description="most structures in flight at a time, waiting or running"
    )
    orca: OrcaSettings
    launcher: LauncherSettings = LauncherSettings()
    retry: RetrySettings = RetrySettings()
    feed: FeedSettings = FeedSettings()
    notify: NotifySettings = NotifySettings()
    quality: QualitySettings = QualitySettings()
    remedies: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="steps of the next attempts after a failure, by failure class, instead of the defaults; such as"
        " {scf_not_converged: [restart, slowconv, trah], aborted: []}",
        examples=["{aborted: [again], timeout: [longer_limit]}"],
    )
    keep: tuple[Literal["out", "engrad", "gbw"], ...] = Field(
        default=("out", "engrad", "gbw"),
        description="files that stay in the folder of a completed structure besides its input and small files; [out,"
        " engrad], which must stay, drops the orbitals (gbw)",
    )
    setup_func: str | None = Field(
        default=None,
        description="your own module:function, called as f(job_dir, job_record) to add files to each new job folder;"
        " null: none",
    )

    _file: Path = PrivateAttr(default=Path(CAMPAIGN_FILE))
    _orca_said: str = PrivateAttr(default=f"{CAMPAIGN_FILE}: orca.command")

    @field_validator("owners")
    @classmethod
    def _owners_are_addresses_or_teams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for owner in value:
            if not re.match(_OWNER, owner):
                raise ValueError(
                    f"{owner!r} is neither an address, such as me@example.org, nor a team, such as team:actinides"
                )
        return value

    @field_validator("job_dir_pattern")
    @classmethod
    def _pattern_stays_inside(cls, value: str) -> str:
        fields = re.findall(r"\{([^{}]*)\}", value)
        rest = re.sub(r"\{(orig_index|id)\}", "0", value)
        parts = Path(rest).parts
        if not fields or not set(fields) <= {"orig_index", "id"} or "{" in rest or "}" in rest:
            problem = "must contain {orig_index} or {id}, and no other braces"
        elif not value.isprintable():
            problem = "must not contain newlines or control characters"
        elif Path(rest).is_absolute() or ".." in parts:
            problem = "must stay inside jobs_dir"
        elif any(part.startswith(".") for part in parts):
            problem = "must not begin the name of a folder with a dot"
        elif any(len(part.encode()) > LONGEST_FOLDER_NAME for part in parts):
            problem = f"must give folders names of at most {LONGEST_FOLDER_NAME} bytes"
        else:
            return value
        raise ValueError(f"{problem}; for example job_{{orig_index}}")

    @field_validator("asset_prefix")
    @classmethod
    def _prefix_is_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z0-9_]+", part) for part in value):
            raise ValueError("must list names of letters, digits and _; for example [project, batch1]")
        return value

    @field_validator("remedies")
    @classmethod
    def _ladders_are_known(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        check_ladders(value)
        return value

    @field_validator("setup_func")
    @classmethod
    def _setup_is_a_function(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
            raise ValueError("must be module:function; for example my_setup:add_files")
        return value

    @field_validator("csv", "ledger", "jobs_dir", mode="before")
    @classmethod
    def _path_is_named(cls, value: object) -> object:
        if isinstance(value, str) and (not value.strip() or not value.isprintable()):
            raise ValueError("must be a path")
        return value

    @model_validator(mode="after")
    def _columns_and_paths_differ(self) -> "Campaign":
        if self.charge_column is not None and self.charge_column == self.spin_column:
            raise ValueError(f"charge_column and spin_column are both {self.charge_column}; name two columns")
        paths = [path for path in (self.csv, self.ledger, self.jobs_dir) if path is not None]
        if len(set(paths)) < len(paths):
            raise ValueError("csv, ledger and jobs_dir must be three different paths")
        return self

    @field_validator("keep")
    @classmethod
    def _evidence_is_kept(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not {"out", "engrad"} <= set(value):
            raise ValueError("must contain out and engrad, which prove the result; for example [out, engrad]")
        return value

    @property
    def csv_file(self) -> Path:
        """The CSV.

        Raises:
            CampaignError: there is none, because the campaign was made from a ledger.
        """
        if self.csv is None:
            raise CampaignError(
                f"{self.file}: csv: is null, because the campaign was made from a ledger; name a CSV to add rows from"
            )
        return self.csv

    @property
    def file(self) -> Path:
        """The ``campaign.yaml`` that the settings were read from."""
        return self._file

    @property
    def orca_said(self) -> str:
        """The file and key that give ORCA's path, for messages."""
        return self._orca_said

    @property
    def folder(self) -> Path:
        """The folder of ``campaign.yaml``, where relative paths in it start."""
        return self._file.parent

    @property
    def n_cores(self) -> int:
        """Cores of one calculation: those of a Parsl worker if set, else ``orca.n_cores``."""
        of_worker = self.launcher.cores_per_worker if self.launcher.in_workers else None
        return of_worker or self.orca.n_cores

    @property
    def notices(self) -> list[str]:
        """Effects of the settings that their author may not expect."""
        cores = (
            f"orca.n_cores {self.orca.n_cores} differs from launcher.cores_per_worker {self.n_cores}: each calculation"
            f" gets {self.n_cores} cores"
        )
        return [*([cores] if self.n_cores != self.orca.n_cores else []), *self.feed.notices]

    @property
    def partitions_name(self) -> str:
        """The name of the campaign's dynamic partitions in a Dagster instance."""
        return f"structures_{self.name}"

    def level_of_theory(self) -> dict[str, Any]:
        """The settings that all results of a ledger share. The first submit fixes them in the ledger.

        They are the engine, template, Hamiltonian, functional, bases (files by content), ECP and grid in a canonical
        spelling, and whatever else changes energies. Cores, memory and iteration limits are left out, also an
        optimisation's limit in ``extra_lines``. ORCA's major version, which only an output shows, is fixed by the first
        result.
        """
        orca = self.orca
        template = TEMPLATES[orca.simple_input]
        return {
            "engine": STANDIN if orca.command == STANDIN else "ORCA",
            "simple_input": orca.simple_input,
            "hamiltonian": template.hamiltonian or "non-relativistic",
            "grid": next(word for word in template.keywords if word.startswith("DEFGRID")),
            **self._canonical(),
            "opt": orca.opt,
            "uks_singlet": orca.uks_singlet,
            "extra_lines": [line for line in orca.extra_lines if not _GEOMETRY_CYCLES.fullmatch(line)],
        }

    def _canonical(self) -> dict[str, Any]:
        level = canonical_level(InputSettings(**self.orca.model_dump(exclude={"command"})))
        return level | {key: _basis_name(level[key]) for key in ("actinide_basis", "non_actinide_basis")}

    def ladders(self) -> Ladders:
        """The ladder of each failure class: the defaults, changed by ``remedies``."""
        return check_ladders(self.remedies)

    def retry_key(self) -> str:
        """A short hash of the settings that decide which steps are left after a failure."""
        launcher = self.launcher
        limits = [launcher.memory_mb, launcher.longest_job_s, launcher.job_timeout_s]
        decisive = [
            self.settings_hash(),
            {str(key): list(steps) for key, steps in self.ladders().items()},
            limits,
        ]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def settings_hash(self) -> str:
        """A short hash of the settings that decide what an input computes: the code version of its partitions.

        Cores, memory and comments are left out, so that more cores do not make results outdated. A basis file counts
        by its content.
        """
        orca = self.orca.model_dump(exclude={"command", "n_cores", "maxcore"}) | self._canonical()
        if orca["scf_maxiter"] == DEFAULT_MAXITER:
            orca["scf_maxiter"] = None  # gives the same input
        return hashlib.sha256(json.dumps(orca, sort_keys=True).encode()).hexdigest()[:16]


def _basis_name(value: str | None) -> str | None:
    """The name of a basis. A file is named by its content, because it may be moved but must not change."""
    if value is None or not is_file(value):
        return value
    file = Path(value)
    try:
        content = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        # The file existed when the campaign was loaded, and the input writer needs only its name.
        content = file.name
    return f"file with SHA-256 {content}"


def load_campaign(path: str | Path, profile: str | None = None) -> Campaign:
    """Read and check a campaign's settings. All paths in them become absolute; relative ones start at the file.

    Args:
        path: ``campaign.yaml``, or its folder.
        profile: a site's profile, in place of ``launcher.profile``.

    Raises:
        CampaignError: the file is missing, unreadable, a ledger or not YAML, or a key or value is wrong.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / CAMPAIGN_FILE
    file = Path(os.path.abspath(file))
    try:
        if is_ledger_file(file):
            raise CampaignError(
                f"{file}: is a ledger; give the {CAMPAIGN_FILE} of its campaign, or their folder"
            )
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CampaignError(f"{file}: no such file; `oact init CSV` writes one for your CSV") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{file}: cannot be read: {error}") from None
    return read_campaign(text, file, profile)


def is_ledger_file(path: Path) -> bool:
    """Whether a file is an SQLite file, whatever its name."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError:
        return False


def read_campaign(text: str, file: Path, profile: str | None = None) -> Campaign:
    """Check a campaign's settings from a text; see :func:`load_campaign`.

    Args:
        text: the content of ``campaign.yaml``.
        file: its absolute path; it need not exist.
        profile: a site's profile, in place of ``launcher.profile``.

    Raises:
        CampaignError: the text is not YAML, or a key or value is wrong.
    """
    try:
        raw = read_settings(text)
    except ValueError as error:
        raise CampaignError(f"{file}{error}") from None
    if not isinstance(raw, dict):
        raise CampaignError("must contain settings as `key: value` lines, such as `name: demo`", file)
    raw, site = _with_profile(raw, profile)
    try:
        campaign = Campaign.model_validate(raw)
    except ValidationError as error:
        origin = "" if site is None else f" (with profile {site.name} of {site.file})"
        raise CampaignError(f"{explain_errors(error, Campaign)}{origin}", file) from None
    folder = file.parent
    campaign = campaign.model_copy(
        update={
            key: Path(os.path.abspath(folder / path.expanduser()))
            for key in ("csv", "ledger", "jobs_dir")
            if (path := getattr(campaign, key)) is not None
        }
        | {"orca": _with_basis_files(campaign.orca, file)}
    )
    campaign._file = file
    campaign._orca_said = f"{file}: orca.command"
    if site is not None and site.orca_command is not None and raw["orca"]["command"] is site.orca_command:
        campaign._orca_said = f"{site.file}: profile {site.name}: {ORCA_COMMAND}"
    return campaign


def checked_profile(name: str) -> Profile:
    """Find a site's profile and check that its settings are valid launcher settings.

    Raises:
        CampaignError: no profile has this name, or a setting is wrong.
    """
    profile = find_profile(name)
    where = f"{profile.file}: profile {name}"
    if "profile" in profile.launcher:
        raise CampaignError(f"{where}: profile: a profile cannot name another one; {profile.listing}")
    try:
        LauncherSettings.model_validate(dict(profile.launcher))
    except ValidationError as error:
        # Errors without a key are about how settings fit together, which also depends on the campaign's own.
        wrong = [{**item, "loc": ("launcher", *item["loc"])} for item in error.errors() if item["loc"]]
        if wrong:
            problems = "; ".join(explain(item, Campaign).removeprefix("launcher.") for item in wrong)
            raise CampaignError(f"{where}: {problems}; {profile.listing}") from None
    return profile


def _with_profile(raw: dict[Any, Any], name: str | None) -> tuple[dict[Any, Any], Profile | None]:
    """A campaign's settings on top of its site's profile, if any.

    Raises:
        CampaignError: the profile does not exist, or is wrong.
    """
    launcher = raw.get("launcher")
    own: dict[Any, Any] = launcher if isinstance(launcher, dict) else {}
    name = own.get("profile") if name is None else name
    if not isinstance(name, str) or not (launcher is None or isinstance(launcher, dict)):
        return raw, None
    profile = checked_profile(name)
    merged = {**raw, "launcher": {**profile.overridden_by(own), "profile": name}}
    orca = raw.get("orca") if raw.get("orca") is not None else {}
    if profile.orca_command is not None and isinstance(orca, dict) and orca.get("command") is None:
        merged["orca"] = {**orca, "command": profile.orca_command}
    return merged, profile


def _with_basis_files(orca: OrcaSettings, file: Path) -> OrcaSettings:
    """Make the paths of basis files absolute, because ORCA runs in the job folder.

    Raises:
        CampaignError: a file does not exist.
    """
    found = {}
    for key in ("actinide_basis", "non_actinide_basis"):
        value = getattr(orca, key)
        if value is None or not is_file(value):
            continue
        path = Path(os.path.abspath(file.parent / Path(value).expanduser()))
        if not path.is_file():
            raise CampaignError(f"orca.{key}: {value}: no such file; give a basis file or a name", file)
        found[key] = str(path)
    return orca.model_copy(update=found)
