"""Named conditions on the rows of a ledger.

``s`` is a row of ``structures`` and ``a`` a row of ``attempts``. A condition with a partial index must be spelled as in
the index, or SQLite does not use it.
"""

from typing import Final

REACHABLE: Final = (
    "s.orig_index IS NOT NULL"
    " AND s.id = (SELECT MIN(f.id) FROM structures f WHERE f.orig_index = s.orig_index)"
)
"""Structure: its ``orig_index`` identifies it. In a foreign file a row may have none, or that of an earlier row; two
calculations in one folder would corrupt each other."""

HAS_RESULT: Final = "s.status = 'completed'"
"""Structure: it has a result."""

FAILED: Final = "s.status IN ('failed', 'timeout')"
"""Structure: it counts as failed."""

RUNNING: Final = "s.status = 'running'"
"""Structure: it is queued or executing."""

IDLE: Final = "s.status IN ('to_run', 'ready', 'failed', 'timeout')"
"""Structure: it has no result and is not running."""

NOT_HELD: Final = "NOT EXISTS (SELECT 1 FROM structure_state h WHERE h.structure_id = s.id AND h.held != 0)"
"""Structure: it is not on hold."""

FEWER_FAILURES: Final = "COALESCE(s.fail_count, 0) < ?"
"""Structure: it has fewer counted failures than the bound value."""

OPEN: Final = "a.state != 'closed'"
"""Attempt: its outcome is not recorded yet."""

HAS_OPEN_ATTEMPT: Final = f"EXISTS (SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND {OPEN})"
"""Structure: a calculation of it may still be running."""

UNFOLLOWED: Final = f"{RUNNING} AND NOT {HAS_OPEN_ATTEMPT}"
"""Structure: marked as running by another tool or by hand."""

LAST_NUMBER: Final = "(SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = s.id)"
"""The number of a structure's last attempt."""

LAST: Final = f"a.number = {LAST_NUMBER}"
"""Attempt: the last one of ``s``."""

GAVE_RESULT: Final = "a.outcome = 'completed' AND a.undone = 0"
"""Attempt: it completed, and its structure has not been reset since."""

GOOD_NUMBER: Final = f"(SELECT MAX(a.number) FROM attempts a WHERE a.structure_id = s.id AND {GAVE_RESULT})"
"""The number of the attempt that gave a structure its result; NULL if there is none."""

GOOD: Final = f"{GAVE_RESULT} AND a.number = {GOOD_NUMBER}"
"""Attempt: it gave ``s`` its result."""

ENDED_AS_FAILURE: Final = "a.outcome IN ('failed', 'timeout')"
"""Attempt: it failed or timed out."""

IS_FAILURE: Final = f"({OPEN} OR (a.undone = 0 AND (a.counted = 1 OR {ENDED_AS_FAILURE})))"
"""Attempt: it accounts for the present failure of its structure. An open attempt accounts for a failure that was set
by hand while it was open, and a counted one for the failure that was counted with it."""

UNCOUNTED: Final = (
    f"{FAILED} AND COALESCE((SELECT a.counted FROM attempts a WHERE a.structure_id = s.id AND {LAST}"
    f" AND {IS_FAILURE}), 0) = 0"
)
"""Structure: its failure is not in ``fail_count`` yet."""
