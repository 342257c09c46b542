"""Metadata that the web page shows of a structure: of its materializations and of its failure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from oact_dagster.attempts.events import Completed, Failed, InputWritten
from oact_dagster.errors import GeometryError
from oact_dagster.ledger.states import AttemptRecord, StructureRecord
from oact_dagster.orca.formula import hill_formula
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.outputs.convergence import Convergence
from oact_dagster.pictures.convergence import convergence_picture
from oact_dagster.pictures.geometry import geometry_picture
from oact_dagster.pictures.markdown import as_markdown
from oact_dagster.quality.rules import RuleResult

Metadata = dict[str, Any]

MESSAGE_CHARACTERS = 2_000
"""Messages are cut to this length when shown; the ledger keeps them whole."""


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> MetadataValue[Any]:
    """A table, from the name and type of each column and the values of each row."""
    names = [name for name, _ in columns]
    return MetadataValue.table(
        [TableRecord(dict(zip(names, row, strict=True))) for row in rows],
        schema=TableSchema(columns=[TableColumn(name, kind) for name, kind in columns]),
    )


def _structure_metadata(structure: StructureRecord) -> Metadata:
    return {
        "formula": hill_formula(structure.elements.split(";")),
        "natoms": structure.natoms,
        "charge": structure.charge,
        "multiplicity": structure.multiplicity,
        **{f"csv_{name}": value for name, value in structure.annotations.items()},
    }


def row_metadata(structure: StructureRecord) -> Metadata:
    """Metadata of ``architector_csv``: the structure, with a picture of its geometry."""
    found = _structure_metadata(structure)
    try:
        geometry = parse_geometry(structure.geometry)
    except GeometryError:
        return found  # old ledgers may hold such geometries
    picture = geometry_picture(geometry.symbols, geometry.coordinates)
    return {**found, "geometry": MetadataValue.md(as_markdown(picture, "geometry"))}


def input_metadata(event: InputWritten) -> Metadata:
    """Metadata of ``orca_inputs``."""
    metadata = _structure_metadata(event.structure)
    if event.job_dir is not None:
        metadata["input_file"] = MetadataValue.path(str(event.job_dir / "orca.inp"))
    if event.attempt is not None:
        metadata["attempt"] = event.attempt
        metadata["remedy"] = event.remedy or "none"
    if event.reused:
        metadata["reused"] = True
    return metadata


def result_metadata(
    event: Completed, input_hash: str | None, verdicts: Sequence[RuleResult] = ()
) -> Metadata:
    """Metadata of ``orca_results``: what the output says, how it was computed, and which quality rules it breaks."""
    attempt = event.attempt
    found: Metadata = {"job_dir": MetadataValue.path(event.structure.job_dir or "")}
    if attempt is not None:
        result = attempt.result
        found |= {
            "final_energy_Eh": result.get("final_energy"),
            "max_gradient_component_Eh_per_bohr": result.get("max_forces"),
            "scf_cycles": result.get("scf_steps"),
            "wall_time_s": result.get("wall_time"),
            "n_cores": result.get("n_cores"),
            "core_hours": _core_hours(result),
            "cpu_time_s": _rounded(attempt.cpu_time_s, 3),
            "max_rss_mb": _rounded(attempt.max_rss_mb, 1),
            "host": attempt.host,
            "attempt": attempt.number,
            "remedy": attempt.remedy or "none",
            "scheduler_job_id": attempt.scheduler_job_id,
            "engine": result.get("engine"),
            "engine_version": result.get("engine_version"),
            "output_file": MetadataValue.path(str(result.get("output_file", ""))),
            "finished": _time(attempt.ended_at),
        }
        found |= _convergence(attempt)
    if event.attempts:
        found["attempts"] = attempts_table(event.attempts)
    if verdicts:
        found["failed_checks"] = ", ".join(one.rule for one in verdicts if one.passed is False) or "none"
    if input_hash is not None:
        found["input_hash"] = input_hash
    if event.reused:
        found["reused"] = True
    if event.followed:
        found["computed_by_another_run"] = True
    return _known(found)


def _known(found: Metadata) -> Metadata:
    return {key: value for key, value in found.items() if value is not None}


def _convergence(attempt: AttemptRecord) -> Metadata:
    """A picture of the convergence of an attempt's optimisation or last SCF; nothing if its output has none."""
    kept = attempt.result.get("convergence")
    if not kept:
        return {}
    picture = convergence_picture(Convergence.from_json(kept))
    return {"convergence": MetadataValue.md(as_markdown(picture, "convergence"))}


def metric_metadata(event: Completed, verdicts: Sequence[RuleResult] = ()) -> Metadata:
    """Metadata of ``metric_summaries``: the structure's numbers, and what each quality rule says of them."""
    result: Mapping[str, Any] = event.attempt.result if event.attempt is not None else {}
    energy = result.get("final_energy")
    found: Metadata = {
        "final_energy_Eh": energy,
        "energy_per_atom_Eh": energy / event.structure.natoms if energy is not None else None,
        "max_gradient_component_Eh_per_bohr": result.get("max_forces"),
        "max_atom_gradient_norm_Eh_per_bohr": result.get("max_atom_force_norm"),
        "scf_cycles": result.get("scf_steps"),
        "optimization_cycles": result.get("opt_cycles"),
        "s_squared": result.get("s2"),
        "wall_time_s": result.get("wall_time"),
        "core_hours": _core_hours(result),
        "engine": result.get("engine"),
        "quality": _quality_table(verdicts) if verdicts else None,
    }
    if event.reused:
        found["reused"] = True
    return _known(found)


def _quality_table(verdicts: Sequence[RuleResult]) -> MetadataValue[Any]:
    words = {True: "holds", False: "broken", None: "not judged"}
    rows = [(one.rule, words[one.passed], one.text) for one in verdicts]
    return table([("rule", "string"), ("verdict", "string"), ("found", "string")], rows)


def failure_metadata(event: Failed) -> Metadata:
    """Metadata of the observation of a structure without a result."""
    found: Metadata = {
        "failure_class": str(event.failure_class),
        "message": event.message[:MESSAGE_CHARACTERS],
        "fail_count": event.structure.fail_count,
        "attempts": attempts_table(event.attempts),
    }
    if event.attempts:
        found |= _convergence(event.attempts[-1])
    if event.tail:
        found["last_lines"] = _lines_table("output", event.tail)
    if event.log:
        found["scheduler_log"] = _lines_table("log", event.log)
    if event.structure.job_dir:
        found["job_dir"] = MetadataValue.path(event.structure.job_dir)
    return found


def _lines_table(name: str, text: str) -> MetadataValue[Any]:
    """Lines of text as a table: the page would join the lines of a text."""
    return table([(name, "string")], ([line] for line in text.splitlines()))


def attempts_table(attempts: Sequence[AttemptRecord]) -> MetadataValue[Any]:
    """The attempts of a structure, the earliest first."""
    columns = [
        ("attempt", "int"), ("outcome", "string"), ("failure_class", "string"), ("message", "string"),
        ("remedy", "string"), ("host", "string"), ("started", "string"), ("elapsed_s", "float"),
        ("core_hours", "float"), ("max_rss_mb", "float"),
    ]  # fmt: skip
    rows = [
        (
            attempt.number,
            str(attempt.outcome or attempt.state),
            str(attempt.failure_class or ""),
            (attempt.message or "")[:200],
            attempt.remedy or "none",
            attempt.host or "",
            _time(attempt.started_at) or "",
            round(attempt.elapsed or 0.0, 3),
            round((attempt.elapsed or 0.0) * (attempt.n_cores or 0) / 3600.0, 5),
            round(attempt.max_rss_mb or 0.0, 1),
        )
        for attempt in attempts
    ]
    return table(columns, rows)


def _core_hours(result: Mapping[str, Any]) -> float | None:
    """Wall time times cores of a stored result, in hours; the digits keep the wall time's milliseconds."""
    if result.get("wall_time") is None or result.get("n_cores") is None:
        return None
    return round(float(result["wall_time"]) * int(result["n_cores"]) / 3600.0, 8)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
