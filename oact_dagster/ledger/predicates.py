"""Conditions on the rows of a ledger, each named once.

In all of them ``s`` is a row of ``structures`` and ``a`` one of ``attempts``. Where a partial index holds the rows of
a condition, the condition is spelled as the index spells it.
"""

from typing import Final

REACHABLE: Final = (
    "s.orig_index IS NOT NULL"
    " AND s.id = (SELECT MIN(f.id) FROM structures f WHERE f.orig_index = s.orig_index)"
)
"""Structure: its ``orig_index`` names it. In a file that others made a row may have none, or that of an earlier row:
two calculations in one folder would spoil each other."""

HAS_RESULT: Final = "s.status = 'completed'"
"""Structure: it has a result."""

FAILED: Final = "s.status IN ('failed', 'timeout')"
"""Structure: it counts as failed."""

RUNNING: Final = "s.status = 'running'"
"""Structure: it is queued or executing."""

IDLE: Final = "s.status IN ('to_run', 'ready', 'failed', 'timeout')"
"""Structure: it has no result, and may be tried again."""

NOT_HELD: Final = "NOT EXISTS (SELECT 1 FROM structure_state h WHERE h.structure_id = s.id AND h.held != 0)"
"""Structure: it runs without being named."""

FEWER_FAILURES: Final = "COALESCE(s.fail_count, 0) < ?"
"""Structure: it has fewer counted failures than the value."""

OPEN: Final = "a.state != 'closed'"
"""Attempt: its outcome is not recorded yet."""

HAS_OPEN_ATTEMPT: Final = f"EXISTS (SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND {OPEN})"
"""Structure: a calculation of it may be running."""

UNFOLLOWED: Final = f"{RUNNING} AND NOT {HAS_OPEN_ATTEMPT}"
"""Structure: another tool, or a hand, marked it as running."""

LAST_NUMBER: Final = "(SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = s.id)"
"""The number of a structure's last attempt."""

LAST: Final = f"a.number = {LAST_NUMBER}"
"""Attempt: it is the last one of ``s``."""

GAVE_RESULT: Final = "a.outcome = 'completed' AND a.undone = 0"
"""Attempt: it completed, and its structure was not reset since."""

GOOD_NUMBER: Final = f"(SELECT MAX(a.number) FROM attempts a WHERE a.structure_id = s.id AND {GAVE_RESULT})"
"""The number of the attempt that gave a structure its result; NULL where none is known."""

GOOD: Final = f"{GAVE_RESULT} AND a.number = {GOOD_NUMBER}"
"""Attempt: it gave ``s`` its result."""

IS_FAILURE: Final = f"({OPEN} OR (a.undone = 0 AND (a.counted = 1 OR a.outcome IN ('failed', 'timeout'))))"
"""Attempt: a failure of its structure is its own. One that is open stands for what is said of the structure meanwhile,
and one that was counted then for what it was counted for."""

UNCOUNTED: Final = (
    f"{FAILED} AND COALESCE((SELECT a.counted FROM attempts a WHERE a.structure_id = s.id AND {LAST}"
    f" AND {IS_FAILURE}), 0) = 0"
)
"""Structure: its failure is not in ``fail_count`` yet."""
