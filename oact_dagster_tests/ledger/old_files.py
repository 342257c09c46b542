"""Workflow files as the tools make them that know the table ``structures`` alone."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

COLUMNS = (
    "id INTEGER PRIMARY KEY AUTOINCREMENT, orig_index INTEGER, elements TEXT, natoms INTEGER, status TEXT,"
    " charge INTEGER, spin INTEGER, geometry TEXT, job_dir TEXT, max_forces REAL, scf_steps INTEGER, final_energy REAL,"
    " error_message TEXT, fail_count INTEGER, wall_time REAL, n_cores INTEGER, created_at TIMESTAMP,"
    " updated_at TIMESTAMP"
)


def old_file(path: Path, rows: Iterable[dict[str, Any]], columns: str = COLUMNS) -> Path:
    """Make a file with the one table, and a row for each of ``rows``; what they leave out is as intake had it."""
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE structures ({columns})")
        for number, given in enumerate(rows):
            row = {
                "orig_index": number,
                "elements": "H;H",
                "natoms": 2,
                "status": "to_run",
                "charge": 0,
                "spin": 1,
                "geometry": "H 0 0 0\nH 0 0 0.74",
                "updated_at": "2024-05-01 10:00:00",
            } | given
            row = {name: value for name, value in row.items() if f"{name} " in columns}
            db.execute(
                f"INSERT INTO structures ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                tuple(row.values()),
            )
    db.close()
    return path
