"""One reader for the message files of a whole batch: real files, written while it reads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oact_dagster.defs.pipes import BatchMessageReader
from oact_dagster_tests.waiting import until


class Handler:
    """Keeps what it is told, and refuses what says so."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.refused = 0

    def handle_message(self, message: Any) -> None:
        if message == "refuse":
            raise ValueError(message)
        self.messages.append(message)

    def report_pipes_framework_exception(self, origin: str, exc_info: object) -> None:
        self.refused += 1


@contextmanager
def reading(reader: BatchMessageReader) -> Iterator[Handler]:
    handler = Handler()
    with reader.read_messages(handler):  # type: ignore[arg-type]
        yield handler


def write(file: Path, *messages: Any, end: str = "\n") -> None:
    with file.open("a") as stream:
        stream.write("\n".join(map(json.dumps, messages)) + end)


def test_messages_of_all_files_arrive_once_and_each_files_in_order(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(50)]
    reader = BatchMessageReader()
    with reading(reader) as handler:
        for file in files:
            reader.follow(file)
        for turn in range(4):
            for number, file in enumerate(files):
                write(file, [number, turn])
        until(lambda: len(handler.messages) == 200)
    for number in range(50):
        assert [turn for one, turn in handler.messages if one == number] == [0, 1, 2, 3]
    assert len(handler.messages) == 200


def test_what_is_written_by_the_end_is_read(tmp_path: Path) -> None:
    followed, finished, late = (tmp_path / name for name in ("followed", "finished", "late"))
    reader = BatchMessageReader()
    with reading(reader) as handler:
        for file in (followed, finished, late):
            reader.follow(file)
        write(finished, "first", "last")
        reader.finish(finished)
        until(lambda: handler.messages == ["first", "last"])
        write(finished, "after its end")
        write(followed, "followed")
    assert handler.messages == ["first", "last", "followed"]


def test_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    reader = BatchMessageReader()
    with reading(reader) as handler:
        reader.follow(file)
        write(file, "whole", "half", end="")
        until(lambda: handler.messages == ["whole"])
        write(file, "", end="\n")
    assert len(handler.messages) == 1 and handler.refused == 1, "what came of the half line is told"


def test_a_message_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_bytes(b'\xff\xfe\n"good"\n{"half\n"refuse"\n"end"\n')
    reader = BatchMessageReader()
    with reading(reader) as handler:
        reader.follow(file)
        until(lambda: len(handler.messages) == 2)
    assert handler.messages == ["good", "end"]
    assert handler.refused == 3
