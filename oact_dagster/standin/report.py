"""The common parts of an ORCA 6.1 output: banner, warnings, echo of the input, geometry, error and normal end."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from oact_dagster.orca.elements import ATOMIC_NUMBERS, SYMBOLS
from oact_dagster.standin.units import BOHR_IN_ANGSTROM

Array = npt.NDArray[np.float64]

ORCA_VERSION: Final = "6.1.0"
"""The ORCA version whose output format is imitated."""

_RULE: Final = "=" * 80
_BOX_TOP: Final = " " * 16 + "#" * 57

# IUPAC's standard atomic weights to three decimals; mass numbers where an element has no stable isotope.
_MASS_TABLE: Final = (
    "1.008 4.003 6.940 9.012 10.810 12.011 14.007 15.999 18.998 20.180 22.990 24.305 26.982 28.085 30.974 "
    "32.060 35.450 39.950 39.098 40.078 44.956 47.867 50.942 51.996 54.938 55.845 58.933 58.693 63.546 "
    "65.380 69.723 72.630 74.922 78.971 79.904 83.798 85.468 87.620 88.906 91.224 92.906 95.950 98.000 "
    "101.070 102.905 106.420 107.868 112.414 114.818 118.710 121.760 127.600 126.904 131.293 132.905 "
    "137.327 138.905 140.116 140.908 144.242 145.000 150.360 151.964 157.250 158.925 162.500 164.930 "
    "167.259 168.934 173.045 174.967 178.486 180.948 183.840 186.207 190.230 192.217 195.084 196.967 "
    "200.592 204.380 207.200 208.980 209.000 210.000 222.000 223.000 226.000 227.000 232.038 231.036 "
    "238.029 237.000 244.000 243.000 247.000 247.000 251.000 252.000 257.000 258.000 259.000 262.000"
)

_MASSES: Final = dict(zip(SYMBOLS, map(float, _MASS_TABLE.split()), strict=True))
"""Atomic masses of H to Lr in unified atomic mass units, which the coordinate table lists."""


def _box_line(text: str) -> str:
    return f"{'':16}#{text:^55}#"


def program_banner(tblite_version: str, host: str, process: int, folder: str, started: str) -> str:
    """Return the head of the output, which says at once that this is not ORCA."""
    # Programs recognise ORCA's output by the spaced name in the first box.
    return "\n".join(
        [
            "",
            f"{'':33}*****************",
            f"{'':33}* O   R   C   A *",
            f"{'':33}*****************",
            "",
            _BOX_TOP,
            _box_line("-***-"),
            _box_line("NOT ORCA"),
            _box_line("a stand-in engine that writes ORCA's format"),
            _box_line("energies and gradients: GFN2-xTB by tblite"),
            _box_line("the numbers mean nothing for chemistry"),
            _box_line("-***-"),
            _BOX_TOP,
            "",
            "",
            f"{'':25}Program Version {ORCA_VERSION}  -  NOT ORCA, ITS FORMAT ONLY  -",
            f"{'':25}Engine: oact-dagster stand-in, GFN2-xTB by tblite {tblite_version}",
            "",
            "",
            "  ***********************************",
            f"  * Starting time: {started}",
            f"  * Host name:     {host}",
            f"  * Process ID:    {process}",
            f"  * Working dir.:  {folder}",
            "  ***********************************",
            "",
        ]
    )


def warnings(lines: Iterable[str]) -> str:
    """Return the section of warnings, each preceded by ``WARNING:``."""
    return "\n".join(
        [
            _RULE,
            f"{'':40}WARNINGS",
            f"{'':23}Please study these warnings very carefully!",
            _RULE,
            "",
            *(f"WARNING: {line}\n" for line in lines),
        ]
    )


def echo(name: str, text: str) -> str:
    """Return the echo of the input file, including comments."""
    lines = text.split("\n")
    if lines[-1]:
        lines.append("")
    lines[-1] = f"{'':25}****END OF INPUT****"
    numbered = (f"|{number:3d}> {line}" for number, line in enumerate(lines, start=1))
    return "\n".join([_RULE, f"{'':39}INPUT FILE", _RULE, f"NAME = {name}", *numbered, _RULE, ""])


def run_type(title: str) -> str:
    """Return the box that names the kind of run."""
    stars = "*" * (len(title) + 4)
    return "\n".join(f"{'':23}{line}" for line in (stars, f"* {title} *", stars)) + "\n"


def parallel_banner(n_processes: int) -> str:
    """Return the box with the number of processes, which ORCA prints only for more than one."""
    stars = "*" * 60
    return "\n".join(
        [
            "",
            "",
            f"{'':11}{stars}",
            f"{'':11}*        Program running with {n_processes} parallel MPI-processes     *",
            f"{'':11}*              working on a common directory               *",
            f"{'':11}{stars}",
        ]
    )


def geometry(symbols: tuple[str, ...], positions: Array) -> str:
    """Return both coordinate tables for positions of shape (N, 3) in bohr."""
    title = "CARTESIAN COORDINATES (ANGSTROEM)"
    lines = ["-" * len(title), title, "-" * len(title)]
    for symbol, (x, y, z) in zip(symbols, positions * BOHR_IN_ANGSTROM, strict=True):
        lines.append(f"  {symbol:<4s}{x:11.6f} {y:11.6f} {z:11.6f}")
    title = "CARTESIAN COORDINATES (A.U.)"
    lines += ["", "-" * len(title), title, "-" * len(title)]
    lines.append("  NO LB      ZA    FRAG     MASS         X           Y           Z")
    for index, (symbol, (x, y, z)) in enumerate(zip(symbols, positions, strict=True)):
        atom = f"{index:4d} {symbol:<4s}{ATOMIC_NUMBERS[symbol]:8.4f}    0  {_MASSES[symbol]:8.3f}"
        lines.append(f"{atom} {x:11.6f} {y:11.6f} {z:11.6f}")
    return "\n".join([*lines, ""])


def input_error(message: str) -> str:
    """Return the end of a run whose input is refused."""
    rule = "-" * 80
    # ORCA's line on an impossible multiplicity has no "aborting"; other lines do.
    last = message if message.startswith("Error : ") else f"Error : {message}\n  .... aborting the run"
    return "\n".join(
        [rule, f"{'':34}INPUT ERROR", rule, "", f"[file oact_dagster/standin/input_reader.py]: {last}", ""]
    )


def error_termination(module: str, message: str, input_name: str) -> str:
    """Return the end of a run that fails in one of ORCA's modules, such as LEANSCF."""
    return "\n".join(
        [
            f"[file oact_dagster/standin/engine.py]: Error (STAND-IN): {message}",
            "",
            f"ORCA finished by error termination in {module}",
            f"Calling Command: python -m oact_dagster.standin {input_name}",
            "[file oact_dagster/standin/run.py]:",
            "  .... aborting the run",
            "",
        ]
    )


def normal_end(module_seconds: Mapping[str, float], wall_seconds: float) -> str:
    """Return the timings (wall times in s) and the last two lines of a run that ended normally."""
    total = sum(module_seconds.values())
    lines = ["", "Timings for individual modules:", ""]
    lines.append(f"{'Sum of individual times':<33s}...{total:13.3f} sec (={total / 60:8.3f} min)")
    for name, seconds in module_seconds.items():
        share = 100 * seconds / total if total else 0.0
        lines.append(f"{name:<33s}...{seconds:13.3f} sec (={seconds / 60:8.3f} min){share:6.1f} %")
    milliseconds = round(1000 * wall_seconds)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    lines.append(f"{'':29}****ORCA TERMINATED NORMALLY****")
    lines.append(
        f"TOTAL RUN TIME: {days} days {hours} hours {minutes} minutes {seconds} seconds {milliseconds} msec"
    )
    return "\n".join([*lines, ""])
