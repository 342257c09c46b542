"""Flux's job ids: stored in one form, the ASCII one of base 58 (``fAPQFGw9`` for 357321146368)."""

from typing import Final

_DIGITS: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def f58(job_id: int) -> str:
    """The ASCII form of a job id."""
    digits = ""
    while True:
        job_id, digit = divmod(job_id, 58)
        digits = _DIGITS[digit] + digits
        if not job_id:
            return f"f{digits}"
