"""A file's bytes, block by block and in bounded memory, whether it is gzipped or not.

Only regular files are opened: a FIFO would block for ever and a folder is none. Nothing is memory-mapped, because a
mapped file that its writer truncates kills the reader (SIGBUS), and because a network file system would page it in
anyway.
"""

import codecs
import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

WHOLE: Final = 16 << 20
"""A file of up to so many bytes (after decompression) comes as one block."""

BLOCK: Final = 4 << 20
"""The size in bytes of the further blocks of a larger file."""

_COMPRESSED: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_WITHIN: Final = 64 << 10


class UnreadableFileError(Exception):
    """A path that gives no bytes; its text says why, for a person to read."""


def open_regular(path: str | os.PathLike[str]) -> tuple[IO[bytes], os.stat_result]:
    """Open a regular file for reading, unbuffered, and never block on anything else.

    Args:
        path: The file.

    Returns:
        The open file and its status.

    Raises:
        UnreadableFileError: It is missing, not a regular file, or may not be read.
    """
    try:
        before = Path(path).stat()
        _demand_regular(before.st_mode)
        # The kind may change between the two calls: O_NONBLOCK keeps even then a FIFO from blocking.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _demand_regular(status.st_mode)
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb", buffering=0), status
    except OSError as error:
        raise UnreadableFileError(_why(error)) from error
    except ValueError as error:  # a NUL byte in the path
        raise UnreadableFileError(f"not a path: {error}") from error


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "there is no such file"
    return f"it cannot be read: {error.strerror or error}"


def _demand_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableFileError("it is a folder")
    if not stat.S_ISREG(mode):
        raise UnreadableFileError("it is not a regular file (a FIFO, a socket or a device)")


class FileBlocks:
    """Iterate over a file's bytes, decompressed where they are gzipped (told by the first two bytes, not the name).

    The first block holds the whole file if it is no larger than ``WHOLE``. What goes wrong while reading ends the
    iteration and is told in ``damage``; the bytes before it are given.

    Attributes:
        size: Bytes on disk when it was opened.
        gzipped: Whether it is a gzip file (known once the first block is there).
        damage: Why the end of the file is not its real end (a gzip stream that is cut or damaged, a read error), or
            None.
    """

    def __init__(self, path: str | os.PathLike[str], *, first_block: int = WHOLE) -> None:
        """Open the file.

        Args:
            path: The file.
            first_block: The largest size in bytes of the first block.

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
                # One byte more than its size, so that this read also finds the end of a file that no longer grows.
                wanted = min(self.size, self._first_block) + 1
                while block := self._read(wanted):
                    yield block
                    if len(block) < wanted:
                        return
                    wanted = BLOCK
            except OSError as error:
                self.damage = f"reading it failed: {error.strerror or error}"

    def text(self) -> Iterator[bytes]:
        """The blocks of a text file, as UTF-8 with newlines.

        Yields:
            Blocks without a byte order mark; UTF-16 (told by that mark) and lines that end in a carriage return alone
            are translated.
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
                # A gzip file may hold several streams; whatever else follows is no part of it.
                compressed = stream.unused_data
                if len(compressed) < len(_GZIP):
                    compressed += self._read(_COMPRESSED)
                if not compressed.startswith(_GZIP):
                    break
                stream = new_stream()
            elif not compressed and not piece:
                compressed = self._read(_COMPRESSED)
                if not compressed:
                    self.damage = "its gzip stream is cut"
                    break
        if pieces:
            yield b"".join(pieces)


def _gzip_library() -> tuple[Callable[[], Any], type[Exception]]:
    """The fastest gunzip there is: ``isal`` (optional) is two to three times as fast as zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return (lambda: zlib.decompressobj(wbits=31)), zlib.error
    return (lambda: isal_zlib.decompressobj(wbits=31)), cast(type[Exception], isal_zlib.error)


def both_ends(path: str | Path, n_bytes: int) -> tuple[bytes, bytes] | None:
    """The first and the last bytes of a large file, without reading what lies between.

    Args:
        path: The file.
        n_bytes: How many bytes of each end.

    Returns:
        Both ends; None for a gzipped file, one that is not larger than both ends, or one that cannot be read.
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
    """The last ``n_bytes`` of a file, decompressed where it is gzipped.

    Args:
        path: The file.
        n_bytes: How many bytes at most.

    Returns:
        The bytes; fewer where the file is shorter or damaged.

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
