"""What the web page shows of a structure: the metadata of its materializations and of its failure."""

from collections.abc import Mapping, Sequence
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
"""A longer message is cut where it is shown; the ledger keeps it whole."""

_ATTEMPT_COLUMNS = TableSchema(
    columns=[
        TableColumn("attempt", "int"),
        TableColumn("outcome", "string"),
        TableColumn("failure_class", "string"),
        TableColumn("message", "string"),
        TableColumn("remedy", "string"),
        TableColumn("host", "string"),
        TableColumn("started", "string"),
        TableColumn("elapsed_s", "float"),
        TableColumn("core_hours", "float"),
        TableColumn("max_rss_mb", "float"),
    ]
)


def structure_metadata(structure: StructureRecord) -> Metadata:
    """Which structure it is, in words and numbers."""
    return {
        "formula": formula(structure.elements),
        "natoms": structure.natoms,
        "charge": structure.charge,
        "multiplicity": structure.multiplicity,
        **{f"csv_{name}": value for name, value in structure.annotations.items()},
    }


def row_metadata(structure: StructureRecord) -> Metadata:
    """Of ``architector_csv``: which structure it is, with a picture of its geometry."""
    found = structure_metadata(structure)
    try:
        geometry = parse_geometry(structure.geometry)
    except GeometryError:
        return found  # that of an old ledger
    picture = geometry_picture(geometry.symbols, geometry.coordinates)
    return {**found, "geometry": MetadataValue.md(as_markdown(picture, "geometry"))}


def input_metadata(event: InputWritten) -> Metadata:
    """Of ``orca_inputs``."""
    metadata = structure_metadata(event.structure)
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
    """Of ``orca_results``: what the output file says, how it came about, and which quality rules it breaks."""
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
            "core_hours": core_hours(result),
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
        broken = [verdict.rule for verdict in verdicts if verdict.passed is False]
        found["failed_checks"] = ", ".join(broken) or "none"
    if input_hash is not None:
        found["input_hash"] = input_hash
    if event.reused:
        found["reused"] = True
    if event.followed:
        found["computed_by_another_run"] = True
    return {key: value for key, value in found.items() if value is not None}


def _convergence(attempt: AttemptRecord) -> Metadata:
    """A picture of how an attempt's optimisation, or last SCF, went; nothing where its output does not tell."""
    kept = attempt.result.get("convergence")
    if not kept:
        return {}
    picture = convergence_picture(Convergence.from_json(kept))
    return {"convergence": MetadataValue.md(as_markdown(picture, "convergence"))}


def metric_metadata(event: Completed, verdicts: Sequence[RuleResult] = ()) -> Metadata:
    """Of ``metric_summaries``: the numbers of one structure, and what each quality rule says of them."""
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
        "core_hours": core_hours(result),
        "engine": result.get("engine"),
        "quality": _quality_table(verdicts) if verdicts else None,
    }
    if event.reused:
        found["reused"] = True
    return {key: value for key, value in found.items() if value is not None}


def _quality_table(verdicts: Sequence[RuleResult]) -> MetadataValue[Any]:
    words = {True: "holds", False: "broken", None: "not judged"}
    return MetadataValue.table(
        [
            TableRecord({"rule": one.rule, "verdict": words[one.passed], "found": one.text})
            for one in verdicts
        ],
        schema=TableSchema(
            columns=[
                TableColumn("rule", "string"),
                TableColumn("verdict", "string"),
                TableColumn("found", "string"),
            ]
        ),
    )


def failure_metadata(event: Failed) -> Metadata:
    """Of the observation of a structure without a result."""
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
    """Lines of text; a table keeps them apart, where a text would run them together."""
    return MetadataValue.table(
        [TableRecord({name: line}) for line in text.splitlines()],
        schema=TableSchema(columns=[TableColumn(name, "string")]),
    )


def attempts_table(attempts: Sequence[AttemptRecord]) -> MetadataValue[Any]:
    """The attempts of a structure, the first one first."""
    return MetadataValue.table(
        [
            TableRecord(
                {
                    "attempt": attempt.number,
                    "outcome": str(attempt.outcome or attempt.state),
                    "failure_class": str(attempt.failure_class or ""),
                    "message": (attempt.message or "")[:200],
                    "remedy": attempt.remedy or "none",
                    "host": attempt.host or "",
                    "started": _time(attempt.started_at) or "",
                    "elapsed_s": round(attempt.elapsed or 0.0, 3),
                    "core_hours": round((attempt.elapsed or 0.0) * (attempt.n_cores or 0) / 3600.0, 5),
                    "max_rss_mb": round(attempt.max_rss_mb or 0.0, 1),
                }
            )
            for attempt in attempts
        ],
        schema=_ATTEMPT_COLUMNS,
    )


def core_hours(result: Mapping[str, Any]) -> float | None:
    """Wall time times cores of a stored result, in hours, as exact as the wall time in ms is."""
    if result.get("wall_time") is None or result.get("n_cores") is None:
        return None
    return round(float(result["wall_time"]) * int(result["n_cores"]) / 3600.0, 8)


def formula(elements: str) -> str:
    """The formula in Hill order of the ledger's semicolon-separated symbols."""
    return hill_formula(elements.split(";"))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
