"""A campaign whose structures were computed by a real ORCA elsewhere: its outputs, put into job folders of a ledger."""

import gzip
import re
from pathlib import Path
from typing import Any

from oact_dagster.export.export import export_campaign
from oact_dagster.export.frames import FrameSelection
from oact_dagster.export.report import ExportReport
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, TOKEN_COMMENT, AttemptSpec, spec_text
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Outcome, Preparation
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign
from oact_dagster_tests.ledger.samples import claim, ending, result, structure

SETTINGS = "name: real\ncsv: null\nannotate: [name]\norca: {command: orca}\n"


def with_token(data: bytes, token: str) -> bytes:
    """An output as one of ours: its echo of the input holds the comment with the token."""
    first = data.index(b"|  1> ")
    return data[:first] + f"|  0> # {TOKEN_COMMENT}: {token}\n".encode() + data[first:]


def energies_in(data: bytes) -> list[float]:
    """Every final energy of an output, Eh."""
    return [float(e) for e in re.findall(rb"FINAL SINGLE POINT ENERGY +(\S+)", data)]


def tables_in(data: bytes, heading: str, columns: int = 3) -> list[list[list[float]]]:
    """The numbers of every table below a heading: its rows' last columns."""
    found = []
    for part in re.split(rf"(?m)^[ -]*{re.escape(heading)}[ -]*\r?$".encode(), data)[1:]:
        rows = []
        for line in part.splitlines()[1:]:
            words = line.split()
            if len(words) > columns and re.fullmatch(rb"-?\d+\.\d+", words[-1]):
                rows.append([float(word) for word in words[-columns:]])
            elif rows:
                break
        found.append(rows)
    return found


class House:
    """A campaign folder with a ledger; outputs are put into it one by one."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "campaign.yaml").write_text(settings)
        self.campaign = load_campaign(folder)
        self.ledger = Ledger(self.campaign.ledger, create=True)
        self.out = folder.parent

    def job(self, index: int) -> Path:
        return self.campaign.jobs_dir / f"job_{index}"

    def put(
        self,
        index: int,
        data: bytes,
        elements: str,
        charge: int = 0,
        multiplicity: int = 1,
        *,
        token: str | None = None,
        final_energy: float | None = None,
        packed: bool = False,
        plan: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Path:
        """A completed structure whose folder holds this output.

        Args:
            index: its ``orig_index``.
            data: the output.
            elements: semicolon-separated symbols.
            charge: of the structure.
            multiplicity: of the structure.
            token: that the output echoes, in place of the attempt's; "" for none.
            final_energy: what the ledger has, Eh; that of the output.
            packed: gzip the output.
            plan: of the attempt.
            **changes: of the structure.
        """
        natoms = len(elements.split(";"))
        self.ledger.add_structures(
            [
                structure(
                    index,
                    elements=elements,
                    natoms=natoms,
                    charge=charge,
                    multiplicity=multiplicity,
                    **changes,
                )
            ]
        )
        [one] = claim(self.ledger, [index])
        folder = self.job(index)
        folder.mkdir(parents=True)
        (folder / ATTEMPT_FILE).write_text(
            spec_text(AttemptSpec(one.token, 1, index, ["orca"], 4, 7200.0, 1.0))
        )
        text = data if token == "" else with_token(data, token or one.token)
        (folder / f"orca.out{'.gz' if packed else ''}").write_bytes(gzip.compress(text) if packed else text)
        energy = energies_in(data)[-1] if final_energy is None else final_energy
        self.ledger.mark_prepared(
            [
                Preparation(
                    one.token,
                    str(folder),
                    f"input{index}",
                    4,
                    plan={"maxcore": 2000} if plan is None else plan,
                )
            ]
        )
        self.ledger.record(
            [ending(one.token, Outcome.COMPLETED, host="node7", result=result(final_energy=energy))]
        )
        return folder

    def export(self, name: str = "out.extxyz", format_name: str = "extxyz", **wanted: Any) -> ExportReport:
        """Export, as a process of its own would: with a ledger that is only read."""
        chosen = FrameSelection(wanted.pop("all_steps", False), wanted.pop("include_flagged", False))
        wanted.setdefault("flagged", {})
        with open_reader(self.campaign.ledger) as reader:
            return export_campaign(
                self.campaign, reader, self.out / name, format_name, wanted=chosen, **wanted
            )
