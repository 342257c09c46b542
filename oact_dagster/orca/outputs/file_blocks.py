"""Reading files in blocks and in bounded memory, gzipped or not.

Only regular files are opened, since a FIFO would block for ever. Nothing is memory-mapped: a writer that truncates a
mapped file kills the reader (SIGBUS), and a network file system would page it in anyway.
"""

import codecs
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

WHOLE: Final = 16 << 20
"""A file of at most this many bytes (after decompression) is one block."""

BLOCK: Final = 4 << 20
"""Size in bytes of the further blocks of a larger file."""

_COMPRESSED: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_WITHIN: Final = 64 << 10


class UnreadableFileError(Exception):
    """The file cannot be read; the message says why."""


def open_regular(path: str | os.PathLike[str]) -> tuple[IO[bytes], os.stat_result]:
    """Open a regular file for reading, unbuffered and without ever blocking; return it with its status.

    Raises:
        UnreadableFileError: The file is missing, not a regular file, or not readable.
    """
    try:
        before = Path(path).stat()
        _demand_regular(before.st_mode)
        # The file may be replaced between the two calls; O_NONBLOCK keeps even a FIFO from blocking then.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _demand_regular(status.st_mode)
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb", buffering=0), status
    except FileNotFoundError as error:
        raise UnreadableFileError("there is no such file") from error
    except OSError as error:
        raise UnreadableFileError(f"it cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL byte in the path
        raise UnreadableFileError(f"not a path: {error}") from error


def _demand_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableFileError("it is a folder")
    if not stat.S_ISREG(mode):
        raise UnreadableFileError("it is not a regular file (a FIFO, a socket or a device)")


class FileBlocks:
    """Iterator over a file's bytes, decompressed if the first two bytes say that it is gzipped.

    A file of at most ``WHOLE`` bytes is one block. An error while reading ends the iteration after the bytes before it
    and is described in ``damage``.

    Attributes:
        size: Bytes on disk when the file was opened.
        gzipped: Whether it is a gzip file (known from the first block on).
        damage: Why the bytes end before the real end of the file (a truncated or damaged gzip stream, a read error),
            or None.
    """

    def __init__(self, path: str | os.PathLike[str], *, first_block: int = WHOLE) -> None:
        """Open the file; the first block has at most ``first_block`` bytes.

        Raises:
            UnreadableFileError: See ``open_regular``.
        """
        self._file, status = open_regular(path)
        self.size = status.st_size
        self._first_block = first_block
        self.gzipped = False
        self.damage: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        with self._file:
            try:
                if self._read(len(_GZIP)) == _GZIP:
                    self.gzipped = True
                    self._file.seek(0)
                    yield from self._decompressed(self._read(min(self.size + 1, _COMPRESSED)))
                    return
                self._file.seek(0)
                # One byte more than the size, so that this read also sees the end of a file that no longer grows.
                wanted = min(self.size, self._first_block) + 1
                while block := self._read(wanted):
                    yield block
                    if len(block) < wanted:
                        return
                    wanted = BLOCK
            except OSError as error:
                self.damage = f"reading it failed: {error.strerror or error}"

    def text(self) -> Iterator[bytes]:
        """Yield the blocks of a text file, as UTF-8 with newlines.

        A byte order mark is removed. UTF-16 (recognised by that mark) and bare carriage returns are translated.
        """
        blocks = iter(self)
        first = next(blocks, None)
        if first is None:
            return
        decode: Callable[[bytes], bytes] | None = None
        if first.startswith(_UTF16):
            decoder = codecs.getincrementaldecoder("utf-16")("replace")

            def decode(block: bytes) -> bytes:
                return decoder.decode(block).encode("utf-8", "replace")

            first = decode(first)
        elif first.startswith(codecs.BOM_UTF8):
            first = first[len(codecs.BOM_UTF8) :]
        top = first[:_LINE_WITHIN]
        bare_returns = b"\r" in top and b"\n" not in top
        yield first.replace(b"\r", b"\n") if bare_returns else first
        for block in blocks:
            text = decode(block) if decode else block
            yield text.replace(b"\r", b"\n") if bare_returns else text

    def _read(self, n_bytes: int) -> bytes:
        return self._file.read(n_bytes) or b""

    def _decompressed(self, compressed: bytes) -> Iterator[bytes]:
        new_stream, stream_error = _gzip_library()
        stream = new_stream()
        room = self._first_block
        pieces: list[bytes] = []
        while True:
            try:
                piece = stream.decompress(compressed, room)
            except stream_error as error:
                self.damage = f"its gzip stream is damaged: {error}"
                break
            if piece:
                pieces.append(piece)
                room -= len(piece)
                if room <= 0:
                    yield b"".join(pieces)
                    pieces, room = [], BLOCK
            compressed = stream.unconsumed_tail
            if stream.eof:
                # A gzip file may hold several streams; anything else that follows is ignored.
                compressed = stream.unused_data
                if len(compressed) < len(_GZIP):
                    compressed += self._read(_COMPRESSED)
                if not compressed.startswith(_GZIP):
                    break
                stream = new_stream()
            elif not compressed and not piece:
                compressed = self._read(_COMPRESSED)
                if not compressed:
                    self.damage = "its gzip stream is truncated"
                    break
        if pieces:
            yield b"".join(pieces)


def _gzip_library() -> tuple[Callable[[], Any], type[Exception]]:
    """Return the fastest gunzip available: ``isal`` (optional) is two to three times as fast as zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return (lambda: zlib.decompressobj(wbits=31)), zlib.error
    return (lambda: isal_zlib.decompressobj(wbits=31)), cast(type[Exception], isal_zlib.error)


def both_ends(path: str | Path, n_bytes: int) -> tuple[bytes, bytes] | None:
    """Read the first and the last ``n_bytes`` of a large file, and nothing between them.

    Returns None if the file is gzipped, not larger than both ends, or unreadable.
    """
    try:
        file, status = open_regular(path)
        with file:
            if status.st_size <= 2 * n_bytes:
                return None
            head = file.read(n_bytes) or b""
            if head.startswith(_GZIP):
                return None
            file.seek(status.st_size - n_bytes)
            return head, file.read(n_bytes) or b""
    except (OSError, UnreadableFileError):
        return None


def last_bytes(path: str | Path, n_bytes: int) -> bytes:
    """Read the last ``n_bytes`` of a file, after decompression; fewer if it is shorter or damaged.

    Raises:
        UnreadableFileError: See ``open_regular``.
    """
    with open_regular(path)[0] as file:
        try:
            if file.read(2) != _GZIP:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - n_bytes))
                return file.read(n_bytes) or b""
        except OSError:
            return b""
    end = b""
    for block in FileBlocks(path):
        end = block[-n_bytes:] if len(block) >= n_bytes else (end + block)[-n_bytes:]
    return end
