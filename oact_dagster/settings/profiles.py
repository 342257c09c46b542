"""Site profiles: the settings that a site's jobs need, written once and named in each ``campaign.yaml``.

The file has one mapping for each profile. It contains settings of ``launcher:``, and ``orca_command``:

    tuolumne:
      kind: flux
      queue: pbatch
      allocation: dnn-sim
      orca_command: /usr/workspace/orca/6.1.0/orca
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from oact_dagster.errors import CampaignError
from oact_dagster.settings.yaml_reader import read_settings

PROFILES_VARIABLE: Final = "OACT_PROFILES"
"""Environment variable that names another file."""

ORCA_COMMAND: Final = "orca_command"
"""Key of ORCA's path on a site, which replaces a missing ``orca.command``."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A site's settings from the file of profiles."""

    name: str
    file: Path
    launcher: Mapping[str, Any]
    """Settings of a campaign's ``launcher``; not checked yet."""
    orca_command: str | None
    names: tuple[str, ...]
    """All profiles of the file."""

    @property
    def listing(self) -> str:
        """The profiles of the file, for messages."""
        return f"profiles in it: {', '.join(self.names)}"

    def overridden_by(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """A campaign's launcher settings on top of the profile's.

        Args:
            own: the campaign's settings. Each replaces the profile's as a whole, except null.
        """
        own = {key: value for key, value in own.items() if value is not None}
        merged = {**self.launcher, **own}
        if "job_timeout_s" in own and "n_hours" not in own and merged.get("per_job") is None:
            # Both give the time limit of a calculation, and n_hours would win. For pilots they differ.
            merged.pop("n_hours", None)
        return merged


def profiles_file() -> Path:
    """The path in ``OACT_PROFILES`` if set, else ``oact/profiles.yaml`` in the user's configuration folder."""
    named = os.environ.get(PROFILES_VARIABLE)
    if named:
        return Path(os.path.abspath(Path(named).expanduser()))
    # The XDG base directory specification says to ignore a relative path.
    home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    base = home if home.is_absolute() else Path("~/.config").expanduser()
    return base / "oact" / "profiles.yaml"


def find_profile(name: str) -> Profile:
    """Read a profile.

    Raises:
        CampaignError: the file cannot be read, lacks the profile, or the profile is not a mapping.
    """
    file = profiles_file()
    try:
        found = read_settings(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CampaignError(
            f"{file}: no such file, so no profile {name}; write the file (a mapping of launcher settings for each"
            f" profile), or name another one in {PROFILES_VARIABLE}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{file}: cannot be read: {error}") from None
    except ValueError as error:
        raise CampaignError(f"{file}{error}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CampaignError(f"{file}: must contain a mapping for each profile, such as `a: {{kind: flux}}`")
    names = tuple(found)
    if name not in found:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise CampaignError(f"{file}: no profile {name}{hint}; profiles in it: {', '.join(names) or 'none'}")
    settings = found[name] if found[name] is not None else {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise CampaignError(
            f"{file}: profile {name}: must contain settings as `key: value` lines, such as `queue: pbatch`"
        )
    launcher = {key: value for key, value in settings.items() if key != ORCA_COMMAND}
    profile = Profile(name, file, launcher, None, names)
    command = settings.get(ORCA_COMMAND)
    return profile if command is None else _with_orca(profile, command)


def _with_orca(profile: Profile, command: object) -> Profile:
    """The profile with ORCA's path.

    Raises:
        CampaignError: the path depends on the current folder.
    """
    text = command.strip() if isinstance(command, str) else ""
    text = str(Path(text).expanduser()) if os.sep in text else text
    if not text or not text.isprintable() or (os.sep in text and not Path(text).is_absolute()):
        raise CampaignError(
            f"{profile.file}: profile {profile.name}: {ORCA_COMMAND}: must be the absolute path of orca, or a name on"
            f" PATH (given: {command!r}); {profile.listing}"
        )
    return replace(profile, orca_command=text)
