"""The tables of the ledger.

``structures`` has exactly the columns of the workflow files that groups have today, so that the tools which
read those read ours; everything else lies in tables beside it.
"""

from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of the tables, kept in ``meta``; a file with a newer one is refused."""

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

CREATE TABLE IF NOT EXISTS structure_state (
    structure_id INTEGER PRIMARY KEY REFERENCES structures(id),
    priority REAL NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    loss_count INTEGER NOT NULL DEFAULT 0,
    row_hash TEXT NOT NULL DEFAULT '',
    calculation_hash TEXT NOT NULL DEFAULT '',
    annotations TEXT NOT NULL DEFAULT '{}',
    n_basis_functions INTEGER
);
CREATE INDEX IF NOT EXISTS idx_calculation_hash ON structure_state(calculation_hash);

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
    remedy TEXT,
    outcome TEXT,
    failure_class TEXT,
    message TEXT,
    counted INTEGER NOT NULL DEFAULT 0,
    claimed_at REAL NOT NULL,
    submitted_at REAL,
    started_at REAL,
    ended_at REAL,
    elapsed REAL,
    n_cores INTEGER,
    result TEXT,
    UNIQUE (structure_id, number)
);
CREATE INDEX IF NOT EXISTS idx_open_attempts ON attempts(batch_id) WHERE state != 'closed';
CREATE INDEX IF NOT EXISTS idx_outcomes ON attempts(outcome);

CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_started REAL NOT NULL,
    heartbeat REAL NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL
);

CREATE TABLE IF NOT EXISTS rejections (
    orig_index INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    reason TEXT NOT NULL,
    row_hash TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""
"""Statements that make what is missing; running them again changes nothing."""
