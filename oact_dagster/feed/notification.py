"""The channels of notices: a command of the user's own, or a webhook."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from oact_dagster.settings.notify import NotifySettings

TIME_LIMIT_S: Final = 30.0
"""Time limit of the command and of the webhook, each, s; a tick waits for them."""


def notify(settings: NotifySettings, campaign: str, texts: Sequence[str]) -> list[str]:
    """Send texts of one line, each on every channel that is set.

    Returns:
        What went wrong, one line each. Errors stop nothing.
    """
    wrong = []
    for text in texts:
        if settings.command:
            wrong += _by_command(settings.command, text)
        if settings.webhook is not None:
            wrong += _by_webhook(settings.webhook, campaign, text)
    return wrong


def _by_command(command: Sequence[str], text: str) -> list[str]:
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            list(command),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return [f"notify.command: {command[0]}: {getattr(error, 'strerror', None) or error}"]
    with process:
        try:
            out, err = process.communicate(f"{text}\n", TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            # Kill the whole process group, since any member may keep the output open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return [f"notify.command: {command[0]} took longer than {TIME_LIMIT_S:g} s"]
    if process.returncode == 0:
        return []
    said = (err or out).strip().splitlines()
    more = f": {said[-1]}" if said else ""
    return [f"notify.command: {command[0]} ended with exit code {process.returncode}{more}"]


def _by_webhook(address: str, campaign: str, text: str) -> list[str]:
    # Slack, Mattermost and others show the field "text".
    body = json.dumps({"text": text, "campaign": campaign}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIME_LIMIT_S):
            return []
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Show only the host name: the full address is a secret with which anyone may post.
        return [f"notify.webhook: {urlsplit(address).hostname}: {error or type(error).__name__}"]
