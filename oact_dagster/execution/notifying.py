"""Telling whoever does not watch: by a command of the user's own, or a webhook."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Final

from oact_dagster.campaign import NotifySettings

TIME_LIMIT_S: Final = 30.0
"""For the command and the webhook, each: a tick waits for them, s."""


def notify(settings: NotifySettings, campaign: str, texts: Sequence[str]) -> list[str]:
    """Tell texts, each by every way that is set.

    Args:
        settings: the ways.
        campaign: its name.
        texts: one line each.

    Returns:
        What went wrong, one line each: it stops nothing.
    """
    wrong = []
    for text in texts:
        if settings.command:
            wrong += _by_command(settings.command, text)
        if settings.webhook is not None:
            wrong += _by_webhook(settings.webhook, campaign, text)
    return wrong


def _by_command(command: Sequence[str], text: str) -> list[str]:
    try:
        done = subprocess.run(
            list(command),
            input=f"{text}\n",
            text=True,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"notify.command: {command[0]} took longer than {TIME_LIMIT_S:g} s"]
    except OSError as error:
        return [f"notify.command: {command[0]}: {error.strerror or error}"]
    if done.returncode == 0:
        return []
    said = (done.stderr or done.stdout).strip().splitlines()
    more = f": {said[-1]}" if said else ""
    return [f"notify.command: {command[0]} ended with exit code {done.returncode}{more}"]


def _by_webhook(address: str, campaign: str, text: str) -> list[str]:
    # Slack, Mattermost and others show the field text.
    body = json.dumps({"text": text, "campaign": campaign}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIME_LIMIT_S):
            return []
    except (urllib.error.URLError, OSError, ValueError) as error:
        return [f"notify.webhook: {address}: {error}"]
