"""The input that an ORCA output echoes under ``INPUT FILE``: comments, cores, and the kind of job.

The echo looks the same from ORCA 2.9 to 6.1::

    ================================================================================
                                           INPUT FILE
    ================================================================================
    NAME = orca.inp
    |  1> ! wB97M-V def2-TZVPD EnGrad
    |  2> # a comment
    ...
    | 28>                          ****END OF INPUT****
"""

import re
from typing import Final, NamedTuple

_LINE: Final = rb"(?m)^\|[ ]*\d+>[ ]?([^\n]*)\n"
_LINES: Final = rb"(?m)^(?:\|[ ]*\d+>[^\n]*(?:\n|\Z))+"
_NUMBERED: Final = rb"\|[ ]*\d+>[ \t]*\Z"
_END: Final = b"****END OF INPUT****"
_HEADING_TO_LINES: Final = 64 << 10
_LARGEST_ECHO: Final = 4 << 20
_PAL_BLOCK: Final = rb"(?i)%\s*pal\b(?:(?!\bend\b)[^%])*?\bnprocs?\b\s*=?\s*(\d{1,6})\b"
_PAL_KEYWORD: Final = rb"(?im)^\s*!(?:[^\n]*\s)?pal(\d{1,6})\b"
_INLINE_COMMENT: Final = rb"#[^#\n]*#?"
_SEMIEMPIRICAL: Final = rb"(?m)^(?:!|%method\b)(?:[^\n]*\s)?(?:z?indo(?:/\w+)?|cndo|nddo|mndo|am1|pm3)(?!\S)"
_CORRELATED: Final = (
    rb"(?m)^!(?:[^\n]*\s)?\S*(?:mp2|mp3|ccsd|cc2|qcisd|cepa|cpf|dlpno|b2|nevpt|caspt|mrci|aqcc|acpf)"
)

_MORE_THAN_ONE: Final = (
    b"opt freq scan new_job casscf nevpt mrci %md neb irc goat compound qmmm qm/ numgrad xtb ext flipspin brokensym "
    b"docker solvator vpt2 mecp mp2 b2"
).split()
"""Word fragments that may ask for more than one SCF, energy and gradient, or for another order of them."""


class InputEcho(NamedTuple):
    """The echoed input."""

    comments: tuple[str, ...]
    """The comment lines, stripped and without their leading ``#``."""
    n_cores: int | None
    """From ``%pal nprocs N`` or ``! PALN``; None without either."""
    one_evaluation: bool
    """Whether nothing asks for more than one SCF, energy and gradient in the usual order. Conservative: file names are
    searched, too."""
    wants_gradient: bool
    """Whether ``EnGrad`` asks for a gradient."""
    several_jobs: bool
    complete: bool
    semiempirical: bool
    """Whether it names a semiempirical method, whose energies have another zero."""
    correlated: bool
    """Whether it names a method that adds a correlation energy to the SCF energy."""
    span: tuple[int, int]
    """Start and end of the echo in the given bytes. Text in it is the user's, not ORCA's."""


def read_echo(data: bytes, start: int) -> InputEcho | None:
    """Read the input echo of the run that begins at ``start``.

    Returns None if there is none, because some input errors stop ORCA before it.
    """
    heading = data.find(b"INPUT FILE", start)
    if heading < 0:
        return None
    first = re.compile(_LINES).search(data, heading, heading + _HEADING_TO_LINES)
    if first is None:
        return None
    begin, stop = first.start(), _own_end(data, first.start())
    complete = stop >= 0
    if not complete:
        whole = re.compile(_LINES).match(data, begin, begin + _LARGEST_ECHO)
        stop = whole.end() if whole else first.end()
    lines = [line.strip() for line in re.compile(_LINE).findall(data, begin, stop)]
    comments = tuple(decode_line(line.lstrip(b"#").strip()) for line in lines if line.startswith(b"#"))
    active = b"\n".join([line for line in lines if not line.startswith(b"#")]).lower()
    if b"#" in active:
        active = re.sub(_INLINE_COMMENT, b"", active)
    cores = re.search(_PAL_BLOCK, active) or re.search(_PAL_KEYWORD, active)
    return InputEcho(
        comments=comments,
        n_cores=int(cores.group(1)) if cores else None,
        one_evaluation=not any(word in active for word in _MORE_THAN_ONE),
        wants_gradient=b"engrad" in active,
        several_jobs=b"$new_job" in active,
        complete=complete,
        semiempirical=re.search(_SEMIEMPIRICAL, active) is not None,
        correlated=re.search(_CORRELATED, active) is not None,
        span=(begin, stop),
    )


def _own_end(data: bytes, begin: int) -> int:
    """Return the end of the echo's last line, or -1. A comment in the input may contain the same words."""
    position = data.find(_END, begin, begin + _LARGEST_ECHO)
    while position >= 0:
        if re.match(_NUMBERED, data[data.rfind(b"\n", 0, position) + 1 : position]):
            return data.find(b"\n", position) + 1 or len(data)
        position = data.find(_END, position + 1, begin + _LARGEST_ECHO)
    return -1


def decode_line(line: bytes) -> str:
    """Return one line of an output as stripped text: UTF-8, else Latin-1; control characters become blanks."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text.strip()
