"""Finding everything that a test started, whatever became of its parents."""

import secrets
from collections.abc import Iterator

import psutil
import pytest

MARK = "OACT_TEST_MARK"


def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Mark all processes that this one starts from now on by their environment."""
    value = secrets.token_hex(8)
    monkeypatch.setenv(MARK, value)
    return value


def marked(value: str, *words: str) -> list[psutil.Process]:
    """The living processes with this mark whose command line holds all these words."""
    return [process for process in _marked(value) if all(word in _line(process) for word in words)]


def _marked(value: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
