"""Starts payloads as child processes. Parsl's workers import this, so it imports little."""

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from oact_dagster.launchers.attempt_files import PAYLOAD_LOG, TOKEN_VARIABLE
from oact_dagster.schedulers.job_script import PAYLOAD


def start_payload(
    token: str, folder: Path, environment: Mapping[str, str]
) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """Start the payload of an attempt in its job folder.

    Returns:
        The process, and our end of its lifeline, a socket pair: if either side dies, even by SIGKILL, the other reads
        an end of file.

    Raises:
        OSError: the payload could not be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs, (folder / PAYLOAD_LOG).open("wb") as log:
            process = subprocess.Popen(
                [*PAYLOAD, "--token", token, "--lifeline", str(theirs.fileno())],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                env={**environment, TOKEN_VARIABLE: token},
                # Ctrl+C in the terminal reaches us only: we decide what happens to the calculations.
                start_new_session=True,
            )
    except OSError:
        ours.close()
        raise
    return process, ours
