"""The tables of the ledger.

``structures`` has exactly the columns of existing workflow files, so that tools for those can read ours. Everything
else is in other tables.
"""

from collections.abc import Mapping, Sequence
from typing import Final

SCHEMA_VERSION: Final = 7
"""Version of the tables, stored in ``meta``; files with a newer version are refused."""

TABLES: Final = """
CREATE TABLE IF NOT EXISTS structures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    orig_index INTEGER,
    elements TEXT,
    natoms INTEGER,
    status TEXT,
    charge INTEGER,
    spin INTEGER,
    geometry TEXT,
    job_dir TEXT,
    max_forces REAL,
    scf_steps INTEGER,
    final_energy REAL,
    error_message TEXT,
    fail_count INTEGER DEFAULT 0,
    wall_time REAL,
    n_cores INTEGER,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_status ON structures(status);
CREATE INDEX IF NOT EXISTS idx_orig_index ON structures(orig_index);
CREATE INDEX IF NOT EXISTS idx_status_orig_index ON structures(status, orig_index);
CREATE INDEX IF NOT EXISTS idx_fail_count ON structures(fail_count, status) WHERE fail_count > 0;
CREATE INDEX IF NOT EXISTS idx_metrics ON structures(final_energy, max_forces, scf_steps, wall_time, n_cores)
    WHERE status = 'completed';

CREATE TABLE IF NOT EXISTS structure_state (
    structure_id INTEGER PRIMARY KEY REFERENCES structures(id),
    priority REAL NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    set_aside_for TEXT,
    held INTEGER NOT NULL DEFAULT 0,
    loss_count INTEGER NOT NULL DEFAULT 0,
    row_hash TEXT NOT NULL DEFAULT '',
    calculation_hash TEXT NOT NULL DEFAULT '',
    annotations TEXT NOT NULL DEFAULT '{}',
    n_basis_functions INTEGER,
    cost_rank REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS idx_calculation_hash ON structure_state(calculation_hash);
CREATE INDEX IF NOT EXISTS idx_priority ON structure_state(priority DESC, cost_rank DESC, structure_id)
    WHERE priority != 0 OR cost_rank != 0;
CREATE INDEX IF NOT EXISTS idx_held ON structure_state(structure_id) WHERE held != 0;
CREATE INDEX IF NOT EXISTS idx_loss_count ON structure_state(loss_count, structure_id) WHERE loss_count > 0;

CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    structure_id INTEGER NOT NULL REFERENCES structures(id),
    number INTEGER NOT NULL,
    token TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    launcher TEXT NOT NULL,
    scheduler_job_id TEXT,
    host TEXT,
    job_dir TEXT,
    input_hash TEXT,
    settings_hash TEXT,
    remedy TEXT,
    plan TEXT,
    outcome TEXT,
    failure_class TEXT,
    message TEXT,
    counted INTEGER NOT NULL DEFAULT 0,
    undone INTEGER NOT NULL DEFAULT 0,
    engine TEXT,
    claimed_at REAL NOT NULL,
    submitted_at REAL,
    started_at REAL,
    ended_at REAL,
    elapsed REAL,
    n_cores INTEGER,
    result TEXT,
    evidence TEXT,
    pending_reason TEXT,
    cpu_time_s REAL,
    max_rss_mb REAL,
    UNIQUE (structure_id, number)
);
CREATE INDEX IF NOT EXISTS idx_open ON attempts(batch_id, state, structure_id) WHERE state != 'closed';
CREATE INDEX IF NOT EXISTS idx_pending ON attempts(pending_reason) WHERE pending_reason IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_spent ON attempts(outcome, elapsed, n_cores);
CREATE INDEX IF NOT EXISTS idx_good ON attempts(structure_id, number, engine, settings_hash)
    WHERE outcome = 'completed' AND undone = 0;

CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_started REAL NOT NULL,
    heartbeat REAL NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    unanswered TEXT
);

CREATE TABLE IF NOT EXISTS rejections (
    orig_index INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    reason TEXT NOT NULL,
    row_hash TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS quality (
    structure_id INTEGER PRIMARY KEY REFERENCES structures(id),
    attempt INTEGER NOT NULL,
    failed TEXT NOT NULL,
    judged INTEGER NOT NULL,
    judged_for TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_quality_failed ON quality(failed) WHERE failed != '';

CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""
"""Statements that create missing tables and indexes; running them again changes nothing.

``attempts.counted``: the attempt is included in the structure's ``fail_count``. ``attempts.undone``: the structure has
left the status that this attempt gave it, by a reset or by hand, so a failure found later is a new one.
``attempts.pending_reason``: why its job may wait for ever, while it does. ``structure_state.set_aside_for``: key of the
settings with which no remedy was left after a failure. ``structure_state.cost_rank``: within one priority, larger
values run first (see ``feed.order``). ``quality``: the rules that a completed structure's result breaks (names,
comma-separated), how many rules could judge it, the attempt that gave it (0 if unknown), and the limits.

The indexes that existing workflow files lack: ``idx_status_orig_index`` selects without reading rows of 2 kB;
``idx_metrics`` covers the statistics; ``idx_fail_count``, ``idx_held``, ``idx_loss_count``, ``idx_priority``,
``idx_pending`` and ``idx_quality_failed`` hold the few exceptional rows; ``idx_open``, ``idx_spent`` and ``idx_good``
save counts a scan of all attempts.
"""

TRIGGERS: Final = (
    "CREATE TRIGGER IF NOT EXISTS quality_of_another_result AFTER UPDATE OF status, final_energy, max_forces"
    " ON structures BEGIN DELETE FROM quality WHERE structure_id = NEW.id; END",
)
"""Statements that create missing triggers.

When a structure's result changes, its row in ``quality`` is deleted, even if a tool that knows only ``structures``
changes it.
"""

MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {
    1: (
        "ALTER TABLE attempts ADD COLUMN settings_hash TEXT",
        "ALTER TABLE attempts ADD COLUMN plan TEXT",
        "ALTER TABLE attempts ADD COLUMN evidence TEXT",
    ),
    2: (
        "ALTER TABLE attempts ADD COLUMN undone INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE attempts ADD COLUMN engine TEXT",
        "UPDATE attempts SET engine = oact_engine(result) WHERE outcome = 'completed'",
        "DROP INDEX IF EXISTS idx_open_attempts",
        "DROP INDEX IF EXISTS idx_outcomes",
    ),
    3: (
        "ALTER TABLE attempts ADD COLUMN pending_reason TEXT",
        "ALTER TABLE attempts ADD COLUMN cpu_time_s REAL",
        "ALTER TABLE attempts ADD COLUMN max_rss_mb REAL",
    ),
    4: (
        "ALTER TABLE structure_state ADD COLUMN set_aside_for TEXT",
        "ALTER TABLE structure_state ADD COLUMN cost_rank REAL NOT NULL DEFAULT 0",
        "DROP INDEX IF EXISTS idx_priority",
    ),
    5: (),
    6: ("ALTER TABLE batches ADD COLUMN unanswered TEXT",),
}
"""Statements that upgrade the tables from each version to the next; :data:`TABLES` creates what is missing."""

RESULT_COLUMNS: Final = ("final_energy", "max_forces", "scf_steps", "wall_time", "n_cores")
"""Columns of ``structures`` that hold the result of the attempt that completed it."""

NO_RESULT: Final = ", ".join(f"{name} = NULL" for name in RESULT_COLUMNS)
"""Assignments that clear the result columns."""

SET_RESULT: Final = ", ".join(f"{name} = ?" for name in RESULT_COLUMNS)
"""Assignments that set the result columns to bound values."""

STRUCTURES_NEEDED: Final = ("id", "orig_index", "status", "geometry")
"""Columns that a foreign table ``structures`` must have to be adopted; other missing columns are added."""
