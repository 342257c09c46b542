"""The page of the report: template, style, script and data in one file."""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from string import Template
from typing import Final

from oact_dagster.report.html import escaped

_ZLIB_LEVEL: Final = 6
"""9 takes five times as long for 2 % less."""
_GZIP: Final = 31
"""zlib's window bits for the format of gzip, which is what browsers unpack."""
_AT_ONCE: Final = 3 << 16
"""Bytes that are turned into letters at a time; three bytes are four letters."""

_DATA: Final = "\0"
"""Placeholder for the data while the page around them is made."""


@cache
def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def page(
    *,
    title: str,
    heading: str,
    when: str,
    banner: str,
    sections: Mapping[str, tuple[str, str]],
    footer: str,
    generator: str,
    data: Iterable[str],
) -> Iterator[str]:
    """The whole page, in parts.

    It asks the network for nothing, and its policy forbids it to: text from elsewhere that smuggled in markup could
    neither run nor fetch anything.

    Args:
        title: of the window; escaped here, as are ``heading``, ``when``, ``footer`` and ``generator``.
        heading: the name of the campaign.
        when: when and where it was written.
        banner: HTML that must not be overlooked; may be empty.
        sections: title and HTML by key, in order.
        footer: the last line.
        generator: the program and its version.
        data: JSON for the tables, in parts.
    """
    script = _file("page.js").strip()
    whole = Template(_file("page.html")).substitute(
        # Browsers also hash the line breaks around the script.
        policy=_policy(f"\n{script}\n"),
        generator=escaped(generator),
        title=escaped(title),
        style=_file("page.css"),
        heading=escaped(heading),
        when=escaped(when),
        links=" ".join(
            f'<a href="#{escaped(key)}">{escaped(name)}</a>' for key, (name, _) in sections.items()
        ),
        banner=banner,
        sections="\n".join(
            f'<section id="{escaped(key)}">\n<h2>{escaped(name)}</h2>\n{body}\n</section>'
            for key, (name, body) in sections.items()
        ),
        footer=escaped(footer),
        script=script,
        data=_DATA,
    )
    # Text from elsewhere may contain the placeholder; the data come last.
    before, _, after = whole.rpartition(_DATA)
    yield before.replace(_DATA, "\ufffd")
    yield from packed(data)
    yield after


def _policy(script: str) -> str:
    """Content security policy: no network, only this script (by its hash), inline styles and pictures."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def packed(parts: Iterable[str]) -> Iterator[str]:
    """A text, in parts, as base64 of its gzip.

    So nothing in it can end the element of the page that holds it, or be read as markup.
    """
    press = zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, _GZIP)
    waiting = bytearray()
    for part in parts:
        waiting += press.compress(part.encode("utf-8"))
        whole = len(waiting) - len(waiting) % _AT_ONCE
        if whole:
            yield base64.b64encode(bytes(waiting[:whole])).decode("ascii")
            del waiting[:whole]
    waiting += press.flush()
    yield base64.b64encode(bytes(waiting)).decode("ascii")
