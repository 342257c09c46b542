"""Site profiles: what a site's jobs need, written once by a group and named in each ``campaign.yaml``.

The file holds one mapping for each profile, of settings as they may stand under ``launcher:``, and ``orca_command``:

    tuolumne:
      kind: flux
      queue: pbatch
      allocation: dnn-sim
      orca_command: /usr/workspace/orca/6.1.0/orca
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oact_dagster.errors import CampaignError
from oact_dagster.settings.text import read_settings

PROFILES_VARIABLE: Final = "OACT_PROFILES"
"""Environment variable that names another file."""

ORCA_COMMAND: Final = "orca_command"
"""ORCA's path on a site, which stands in for ``orca.command``."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A site's settings, as they stand in the file."""

    name: str
    file: Path
    launcher: Mapping[str, Any]
    """Settings of a campaign's ``launcher``; not checked yet."""
    orca_command: str | None
    others: tuple[str, ...]
    """All profiles of the file."""

    @property
    def there(self) -> str:
        """What the file holds, for messages."""
        return f"profiles in it: {', '.join(self.others)}"

    def under(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """A campaign's settings on top of the profile's.

        Args:
            said: what ``campaign.yaml`` has under ``launcher``. It wins, each setting as a whole; null says nothing.
        """
        mine = {key: value for key, value in said.items() if value is not None}
        below = dict(self.launcher)
        found = {**below, **mine}
        if "job_timeout_s" in mine and "n_hours" not in mine and found.get("per_job") is None:
            # The same setting under another name, which would win over it; of pilots it is another one.
            found.pop("n_hours", None)
        return found


def profiles_file() -> Path:
    """The file of profiles: what ``OACT_PROFILES`` names, else ``oact/profiles.yaml`` in the user's configuration."""
    named = os.environ.get(PROFILES_VARIABLE)
    if named:
        return Path(os.path.abspath(Path(named).expanduser()))
    # The specification of XDG base directories: a relative path is to be ignored.
    home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    base = home if home.is_absolute() else Path("~/.config").expanduser()
    return base / "oact" / "profiles.yaml"


def find_profile(name: str) -> Profile:
    """Read a profile.

    Raises:
        CampaignError: the file cannot be read, has no such profile, or the profile is no mapping.
    """
    file = profiles_file()
    try:
        found = read_settings(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CampaignError(
            f"{file}: no such file, in which profile {name} would be; write it (a mapping of launcher settings for each"
            f" profile), or name another one in {PROFILES_VARIABLE}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{file}: cannot be read: {error}") from None
    except ValueError as error:
        raise CampaignError(f"{file}{error}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CampaignError(
            f"{file}: must hold a mapping for each profile, such as `tuolumne: {{kind: flux}}`"
        )
    names = tuple(found)
    if name not in found:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise CampaignError(f"{file}: no profile {name}{hint}; profiles in it: {', '.join(names) or 'none'}")
    settings = found[name] if found[name] is not None else {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise CampaignError(
            f"{file}: profile {name}: must hold settings as `key: value` lines, such as `queue: pbatch`"
        )
    launcher = {key: value for key, value in settings.items() if key != ORCA_COMMAND}
    profile = Profile(name, file, launcher, None, names)
    return profile if ORCA_COMMAND not in settings else _with_orca(profile, settings[ORCA_COMMAND])


def _with_orca(profile: Profile, command: object) -> Profile:
    """The profile with ORCA's path.

    Raises:
        CampaignError: it is no path that means the same from every folder.
    """
    if command is None:
        return profile
    text = command.strip() if isinstance(command, str) else ""
    text = str(Path(text).expanduser()) if os.sep in text else text
    if not text or not text.isprintable() or (os.sep in text and not Path(text).is_absolute()):
        raise CampaignError(
            f"{profile.file}: profile {profile.name}: {ORCA_COMMAND}: must be the absolute path of orca, or a name on"
            f" PATH (given: {command!r}); {profile.there}"
        )
    return Profile(profile.name, profile.file, profile.launcher, text, profile.others)
