"""The settings of a campaign, read from ``campaign.yaml`` and checked.

A campaign is one CSV, one ledger, one jobs folder and one level of theory. Every key is checked; a wrong
one gives a :class:`CampaignError` whose text is one line that names the key and what is allowed.
"""

import difflib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from oact_dagster.orca.basis import is_file

CAMPAIGN_FILE = "campaign.yaml"
"""The name of a campaign's settings file in its folder."""

STANDIN = "standin"
"""The value of ``orca.command`` that selects the stand-in engine instead of a real ORCA."""


# YAML's true is no number of cores.
Whole = Annotated[int, Field(strict=True)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class CampaignError(ValueError):
    """A campaign's settings are missing or wrong; the text is one line that says what, where and what is right."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrcaSettings(_Settings):
    """What ORCA computes, and which ORCA."""

    command: str = Field(
        description="absolute path of the orca program (or a name on PATH), or 'standin' for the stand-in engine"
    )
    functional: str = "wB97M-V"
    simple_input: Literal["omol", "x2c", "dk3"] = "omol"
    actinide_basis: str | None = None
    actinide_ecp: str | None = None
    non_actinide_basis: str = "def2-TZVPD"
    scf_maxiter: Whole | None = Field(default=None, ge=1)
    nbo: bool = False
    mbis: bool = False
    kdiis: bool = False
    opt: bool = False
    uks_singlet: bool = False
    n_cores: Whole = Field(default=4, ge=1, description="cores of one calculation (%pal nprocs)")
    maxcore: Whole | None = Field(default=None, ge=100, description="MB for each process; null estimates it")
    extra_lines: tuple[str, ...] = ()

    @field_validator("command")
    @classmethod
    def _command_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give the absolute path of orca, or standin")
        return value


class LauncherSettings(_Settings):
    """How attempts are run."""

    kind: Literal["local"] = "local"
    max_workers: Whole = Field(default=1, ge=1, description="calculations at once")
    job_timeout_s: Seconds = Field(default=7200.0, gt=0, description="time limit of one calculation, s")
    stop_grace_s: Seconds = Field(
        default=10.0, ge=0, description="time that running calculations get to end when the run is stopped, s"
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="variables added to each calculation's environment"
    )


class RetrySettings(_Settings):
    """The budgets of a structure; the ledger counts them."""

    max_failures: Whole = Field(default=3, ge=1, description="failed and timed-out attempts in all")
    max_losses: Whole = Field(default=5, ge=1, description="lost attempts (killed, node died) in all")


class Campaign(_Settings):
    """All settings of a campaign. Paths are absolute after loading."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_]+$", max_length=60, description="a name of letters, digits and _, such as demo"
    )
    csv: Path = Field(description="the path of the CSV")
    geometry_column: str = "aligned_csd_core"
    charge_column: str | None = "charge"
    spin_column: str | None = "uhf"
    annotate: tuple[str, ...] = ()
    ledger: Path = Path("workflow.db")
    jobs_dir: Path = Path("jobs")
    job_dir_pattern: str = "job_{orig_index}"
    asset_prefix: tuple[str, ...] = ()
    batch_size: Whole = Field(default=500, ge=1, description="structures claimed at once")
    max_in_flight: Whole = Field(
        default=5000, ge=1, description="structures of a run that are claimed at a time"
    )
    orca: OrcaSettings
    launcher: LauncherSettings = LauncherSettings()
    retry: RetrySettings = RetrySettings()

    _file: Path = PrivateAttr(default=Path(CAMPAIGN_FILE))

    @field_validator("job_dir_pattern")
    @classmethod
    def _pattern_stays_inside(cls, value: str) -> str:
        fields = re.findall(r"\{([^{}]*)\}", value)
        rest = re.sub(r"\{(orig_index|id)\}", "0", value)
        if not fields or not set(fields) <= {"orig_index", "id"} or "{" in rest or "}" in rest:
            raise ValueError(
                "must hold {orig_index} or {id}, and no other braces; for example job_{orig_index}"
            )
        parts = Path(rest).parts
        if Path(rest).is_absolute() or ".." in parts or any(part.startswith(".") for part in parts):
            raise ValueError("must stay inside jobs_dir; for example job_{orig_index}")
        if "\0" in value:
            raise ValueError("must hold no NUL character")
        return value

    @field_validator("asset_prefix")
    @classmethod
    def _prefix_is_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z0-9_]+", part) for part in value):
            raise ValueError(
                "must be a list of names of letters, digits and _; for example [project, batch1]"
            )
        return value

    @model_validator(mode="after")
    def _things_are_apart(self) -> "Campaign":
        if self.charge_column is not None and self.charge_column == self.spin_column:
            raise ValueError(
                f"charge_column and spin_column are both {self.charge_column}; they are two columns"
            )
        if len({self.csv, self.ledger, self.jobs_dir}) < 3:
            raise ValueError("csv, ledger and jobs_dir must be three different paths")
        return self

    @property
    def file(self) -> Path:
        """The ``campaign.yaml`` that the settings were read from."""
        return self._file

    @property
    def folder(self) -> Path:
        """The folder of ``campaign.yaml``; relative paths in it are relative to this folder."""
        return self._file.parent

    @property
    def partitions_name(self) -> str:
        """The name of the campaign's dynamic partitions in a Dagster instance."""
        return f"structures_{self.name}"

    def job_folder(self, orig_index: int, structure_id: int) -> Path:
        """The folder in which a structure's current attempt runs."""
        return self.jobs_dir / self.job_dir_pattern.format(orig_index=orig_index, id=structure_id)

    def level_of_theory(self) -> dict[str, Any]:
        """What a ledger's results have in common; the first submit fixes it in the ledger.

        Returns:
            The engine, template, functional, bases and ECP, and what else changes energies. Cores, memory
            and iteration limits are no part of it.
        """
        orca = self.orca
        return {
            "engine": STANDIN if orca.command == STANDIN else "ORCA",
            "simple_input": orca.simple_input,
            "functional": orca.functional,
            "actinide_basis": _basis_name(orca.actinide_basis),
            "actinide_ecp": orca.actinide_ecp,
            "non_actinide_basis": _basis_name(orca.non_actinide_basis),
            "opt": orca.opt,
            "uks_singlet": orca.uks_singlet,
            "extra_lines": list(orca.extra_lines),
        }

    def settings_hash(self) -> str:
        """A short hash of the settings that decide an input: the code version of its partitions."""
        text = json.dumps(
            {"orca": self.orca.model_dump(exclude={"command"}), "annotate": list(self.annotate)},
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _basis_name(value: str | None) -> str | None:
    """A basis, by its file's name where it is a file: a campaign's folder may be moved."""
    return Path(value).name if value is not None and is_file(value) else value


def load_campaign(path: str | Path) -> Campaign:
    """Read and check a campaign's settings.

    Args:
        path: ``campaign.yaml``, or the folder that holds it.

    Returns:
        The settings, with every path absolute (relative ones are relative to the file).

    Raises:
        CampaignError: the file is missing or unreadable, is not YAML, or a key or value is wrong.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / CAMPAIGN_FILE
    file = Path(os.path.abspath(file))
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CampaignError(f"{file}: no such file; `oact init CSV` writes one for your CSV") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{file}: cannot be read: {error}") from None
    return read_campaign(text, file)


def read_campaign(text: str, file: Path) -> Campaign:
    """Check a campaign's settings.

    Args:
        text: what ``campaign.yaml`` holds, or would hold.
        file: its absolute path; it need not exist.

    Returns:
        The settings, with every path absolute (relative ones are relative to the file).

    Raises:
        CampaignError: it is not YAML, or a key or value is wrong.
    """
    try:
        raw = yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise CampaignError(f"{file}{where}: not YAML: {problem}") from None
    if not isinstance(raw, dict):
        raise CampaignError(f"{file}: must hold settings as `key: value` lines, such as `name: demo`")
    try:
        campaign = Campaign.model_validate(raw)
    except ValidationError as error:
        raise CampaignError(f"{file}: {_one_line(error)}") from None
    folder = file.parent
    campaign = campaign.model_copy(
        update={
            key: Path(os.path.abspath(folder / getattr(campaign, key).expanduser()))
            for key in ("csv", "ledger", "jobs_dir")
        }
        | {"orca": _with_basis_files(campaign.orca, file)}
    )
    campaign._file = file
    return campaign


def _with_basis_files(orca: OrcaSettings, file: Path) -> OrcaSettings:
    """Make the paths of basis files absolute: ORCA runs in the job folder.

    Raises:
        CampaignError: there is no such file.
    """
    found = {}
    for key in ("actinide_basis", "non_actinide_basis"):
        value = getattr(orca, key)
        if value is None or not is_file(value):
            continue
        path = Path(os.path.abspath(file.parent / Path(value).expanduser()))
        if not path.is_file():
            raise CampaignError(
                f"{file}: orca.{key}: {value}: no such file; give a basis file or the name of a basis"
            )
        found[key] = str(path)
    return orca.model_copy(update=found)


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: otherwise the last one would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for (key_node, _), key in reversed(list(zip(node.value, keys, strict=True))):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} stands there twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


def _one_line(error: ValidationError) -> str:
    """All that pydantic found, on one line, each with its key and what is allowed."""
    return "; ".join(_explain(item) for item in error.errors())


def _explain(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        allowed = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{key}: no such setting{hint}; allowed: {', '.join(allowed)}"
    if item["type"] == "missing":
        about = _description(location)
        return f"{key}: is missing" + (f"; give {about}" if about else "")
    if item["type"] in ("tuple_type", "list_type"):
        return f"{key}: must be a list, such as [one, two] (given: {item.get('input')!r})"
    if item["type"] == "string_pattern_mismatch":
        return f"{key}: must be letters, digits and _ only (given: {item.get('input')!r})"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    shown = "" if isinstance(given, (dict, list)) else f" (given: {given!r})"
    return f"{key}: {message}{shown}" if key else message


def _description(location: list[str]) -> str | None:
    model: type[BaseModel] = Campaign
    for part in location[:-1]:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model.model_fields[location[-1]].description


def _keys_at(location: list[str]) -> list[str]:
    model: type[BaseModel] = Campaign
    for part in location:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)
