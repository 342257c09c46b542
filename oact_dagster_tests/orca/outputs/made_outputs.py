"""Small ORCA-format outputs, composed from the parts that ORCA prints, so that every rule can be tested anywhere."""

Atom = tuple[str, float, float, float]

URANYL: tuple[Atom, ...] = (("U", 0.0, 0.0, 0.0), ("O", 0.0, 0.0, 1.7), ("O", 0.0, 0.0, -1.7))
GRADIENT = ((0.0, 0.0, 0.0001), (0.003, 0.004, 0.0), (-0.003, -0.004, 0.0))
"""Eh/bohr; its largest component is 0.004, its largest norm 0.005."""


def banner(version: str = "6.1.0", release: str = " -  RELEASE   -") -> str:
    return (
        "\n                                 *****************\n"
        "                                 * O   R   C   A *\n"
        "                                 *****************\n\n"
        f"                         Program Version {version} {release}\n\n"
        "================================================================================\n"
        "                                        WARNINGS\n"
        "                       Please study these warnings very carefully!\n"
        "================================================================================\n\n"
    )


def echo(*lines: str) -> str:
    rule = "=" * 80 + "\n"
    numbered = [f"|{number:3d}> {line}\n" for number, line in enumerate((*lines, ""), start=1)]
    end = f"|{len(lines) + 2:3d}>                          ****END OF INPUT****\n"
    return f"{rule}{'INPUT FILE':>49}\n{rule}NAME = orca.inp\n{''.join(numbered)}{end}{rule}\n"


def processes(number: int) -> str:
    stars = f"           {'*' * 60}\n"
    return f"{stars}           *        Program running with {number} parallel MPI-processes     *\n{stars}"


def cycle(number: int) -> str:
    stars = f"         {'*' * 61}\n"
    return f"{stars}         *                GEOMETRY OPTIMIZATION CYCLE {number:3d}            *\n{stars}"


def coordinates(atoms: tuple[Atom, ...] = URANYL) -> str:
    rows = "".join(f"  {symbol:<4s}{x:14.6f}{y:14.6f}{z:14.6f}\n" for symbol, x, y, z in atoms)
    rule = "-" * 33
    return f"{rule}\nCARTESIAN COORDINATES (ANGSTROEM)\n{rule}\n{rows}\n"


def settings(charge: int = 2, mult: int = 1, kind: str = "RHF") -> str:
    return (
        "------------\nSCF SETTINGS\n------------\nHamiltonian:\n\nGeneral Settings:\n"
        f" Hartree-Fock type      HFTyp           .... {kind}\n"
        f" Total Charge           Charge          .... {charge:4d}\n"
        f" Multiplicity           Mult            .... {mult:4d}\n"
        " Number of Electrons    NEL             ....   46\n\n"
    )


def scf(
    n_cycles: int = 12, energy: float = -626.6, *, converged: bool = True, s2: float | None = None
) -> str:
    rows = "".join(
        f"  {number:3d}    {energy + 0.1 / number**3:.16f}    -1.53e-07  1.11e-05  1.73e-04  9.12e-05     0.9\n"
        for number in range(1, n_cycles + 1)
    )
    head = "Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     DIISErr   Time(sec)\n" + rows
    stars = f"               {'*' * 53}\n"
    word, verdict = (
        ("SUCCESS", "SCF CONVERGED AFTER") if converged else (" ERROR ", "SCF NOT CONVERGED AFTER")
    )
    box = (
        f"\n{stars}               *                     {word}                       *\n"
        f"               *        {verdict:>22s} {n_cycles:3d} CYCLES          *\n{stars}\n"
    )
    total = (
        f"----------------\nTOTAL SCF ENERGY\n----------------\n\nTotal Energy       : {energy:20.8f} Eh\n\n"
    )
    spin = (
        ""
        if s2 is None
        else f"----\nUHF SPIN CONTAMINATION\n----\n\nExpectation value of <S**2>     : {s2:12.6f}\n\n"
    )
    return head + box + total + spin


def final_energy(value: float | str = -626.6, flag: str = "") -> str:
    number = value if isinstance(value, str) else f"{value:.12f}"
    rule = "-------------------------   --------------------\n"
    return f"{rule}FINAL SINGLE POINT ENERGY {number:>21s}{'   ' + flag if flag else ''}\n{rule}\n"


def gradient(
    rows: tuple[tuple[float, float, float], ...] = GRADIENT,
    atoms: tuple[Atom, ...] = URANYL,
    *,
    word: str = "Cartesian",
) -> str:
    table = "".join(
        f"{number:4d}{atom[0]:>4s}   : {x:14.9f} {y:14.9f} {z:14.9f}\n"
        for number, (atom, (x, y, z)) in enumerate(zip(atoms, rows, strict=True), start=1)
    )
    largest = max(abs(component) for row in rows for component in row)
    return (
        "-------------------\nDISPERSION GRADIENT\n-------------------\n\n"
        "   1   U   :    0.900000000    0.000000000    0.000000000\n\n"
        "Norm of the Dispersion gradient    ...    0.9000000000\n"
        "RMS gradient                       ...    0.9000000000\n"
        "MAX gradient                       ...    0.9000000000\n\n"
        f"------------------\nCARTESIAN GRADIENT\n------------------\n\n{table}\n"
        "Difference to translation invariance:\n           :    0.0000000000   -0.0000000000    0.0000000000\n\n"
        + norms(largest, word=word)
    )


def norms(largest: float, *, word: str = "Cartesian") -> str:
    return (
        f"Norm of the {word} gradient     ...    0.0070717750\n"
        "RMS gradient                       ...    0.0023572583\n"
        f"MAX gradient                       ... {largest:15.10f}\n\n"
    )


def geometry_convergence() -> str:
    return (
        "                                .--------------------.\n"
        "          ----------------------|Geometry convergence|-------------------------\n"
        "          MAX gradient        0.7777777777            0.0003000000      NO\n\n"
    )


def hurray() -> str:
    return (
        "                    ***********************HURRAY********************\n"
        "                    ***        THE OPTIMIZATION HAS CONVERGED     ***\n"
        "                    *************************************************\n\n"
    )


def opt_not_converged() -> str:
    return (
        "    ----------------------------------------------------------------------------\n"
        "                                  WARNING !!!\n"
        "       The optimization did not converge but reached the maximum number of\n"
        "       optimization cycles.\n       Please check your results very carefully.\n"
        "    ----------------------------------------------------------------------------\n\n"
    )


def normal_end(
    days: int = 0, hours: int = 0, minutes: int = 3, seconds: int = 16, milliseconds: int = 840
) -> str:
    return (
        "Timings for individual modules:\n\nSum of individual times          ...      195.373 sec (=   3.256 min)\n"
        "                             ****ORCA TERMINATED NORMALLY****\n"
        f"TOTAL RUN TIME: {days} days {hours} hours {minutes} minutes {seconds} seconds {milliseconds} msec\n"
    )


def error_end(module: str = "SCF") -> str:
    return (
        f"\nORCA finished by error termination in {module}\n"
        f"Calling Command: mpirun -np 4 orca_{module.lower()}_mpi orca.gbw\n"
        "[file orca_tools/qcmsg.cpp, line 394]: \n  .... aborting the run\n\n"
    )


def populations(n_bytes: int) -> str:
    """The bulk of a real output: tables between the SCF and the energy."""
    row = "  0 U  fz3       0.000123    0.000123    0.453210    0.987654    0.000001    0.123456\n"
    return "LOEWDIN REDUCED ORBITAL POPULATIONS PER MO\n" + row * (n_bytes // len(row) + 1) + "\n"


def single_point(
    *,
    energy: float | str = -626.6,
    flag: str = "",
    bulk: int = 0,
    with_gradient: bool = True,
    s2: float | None = None,
    kind: str = "RHF",
    cores: int | None = 4,
    inputs: tuple[str, ...] = ("! wB97M-V def2-TZVPD EnGrad", "# token a1b2"),
    end: str | None = None,
) -> str:
    parts = [banner(), echo(*inputs), coordinates(), processes(cores) if cores else "", settings(kind=kind)]
    parts += [scf(s2=s2), populations(bulk), final_energy(energy, flag)]
    parts += [gradient() if with_gradient else "", normal_end() if end is None else end]
    return "".join(parts)


def optimisation(
    energies: tuple[float, ...] = (-626.4, -626.5, -626.6), *, bulk: int = 0, converged: bool = True
) -> str:
    """An optimisation with a cycle for each energy and, if it converges, one more energy (lower by 1e-6) at the end."""
    parts = [banner(), echo("! wB97M-V Opt", "%pal nprocs 4 end"), processes(4), settings()]
    for number, energy in enumerate(energies, start=1):
        z = 1.7 + 0.01 * number
        atoms: tuple[Atom, ...] = (URANYL[0], ("O", 0.0, 0.0, z), ("O", 0.0, 0.0, -z))
        rows = tuple((x, y, z + 0.01 / number) for x, y, z in GRADIENT)
        parts += [cycle(number), coordinates(atoms), scf(8 + number, energy), populations(bulk)]
        parts += [final_energy(energy), gradient(rows), geometry_convergence()]
    if converged:
        parts += [
            hurray(),
            coordinates(),
            settings(),
            scf(3, energies[-1] - 1e-6),
            final_energy(energies[-1] - 1e-6),
        ]
    else:
        parts.append(opt_not_converged())
    return "".join([*parts, normal_end()])
