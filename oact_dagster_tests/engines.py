"""Engines for tests: a shell script that writes what ORCA writes, and fails on demand as ORCA does."""

from pathlib import Path

ENERGY = -76.0
"""Energy of structure n is ``ENERGY - n / 10000`` Eh."""
GRADIENT = 0.004501218
"""Its largest gradient component, Eh/bohr."""

_SCRIPT = r"""#!/bin/sh
# Runs as `engine orca.inp`. What it does with structure N is in CONTROL/N, else in CONTROL/default.
n=$(sed -n 's/^# structure \([0-9]*\) of .*/\1/p' "$1")
control='@CONTROL@'
version=$(cat "$control/version" 2>/dev/null || echo 6.1.0)
words=$(cat "$control/$n" 2>/dev/null || cat "$control/default")
echo "$n" >> "$control/runs"
# Of several words each attempt takes the next one, and the last one is kept.
left=$(grep -cx "$n" "$control/runs")
for what in $words; do left=$((left - 1)); [ "$left" -gt 0 ] || break; done
head() {
    printf '                                 *****************\n'
    printf '                                 * O   R   C   A *\n'
    printf '                                 *****************\n\n'
    printf '                         Program Version %s  -   RELEASE   -\n\n' "$version"
    printf '================================================================================\n'
    printf '                                       INPUT FILE\n'
    printf '================================================================================\n'
    printf 'NAME = %s\n' "$1"
    awk '{printf "|%3d> %s\n", NR, $0}
         END {printf "|%3d>                          ****END OF INPUT****\n", NR+1}' "$1"
    printf '================================================================================\n\n'
    printf '%s\n' '---------------------------------' 'CARTESIAN COORDINATES (ANGSTROEM)' \
        '---------------------------------'
    sed -n '/^\* *xyz/,/^\*$/{/^\*/d;s/^/  /;p}' "$1"
    printf '\nTotal Charge           Charge          ....    0\n'
    printf ' Multiplicity           Mult            ....    1\n\n'
}
converged() {
    printf '\n               *****************************************************\n'
    printf '               *                     SUCCESS                       *\n'
    printf '               *           SCF CONVERGED AFTER  12 CYCLES          *\n'
    printf '               *****************************************************\n\n'
    printf '%s\n' '-------------------------   --------------------'
    printf 'FINAL SINGLE POINT ENERGY       -76.%04d00000000\n' "$n"
    printf '%s\n\n' '-------------------------   --------------------'
    printf '%s\n' '------------------' 'CARTESIAN GRADIENT' '------------------' ''
    printf '   %s   :    %s\n' '1   O' '0.001000000    0.000000000    0.004501218' \
        '2   H' '-0.000500000    0.000000000   -0.002250609' '3   H' '-0.000500000    0.000000000   -0.002250609'
    echo
    printf 'Norm of the Cartesian gradient     ...    0.0046109600\n'
    printf 'RMS gradient                       ...    0.0026621400\n'
    printf 'MAX gradient                       ...    0.0045012180\n\n'
}
end() {
    printf '                             ****ORCA TERMINATED NORMALLY****\n'
    printf 'TOTAL RUN TIME: 0 days 0 hours 0 minutes 3 seconds 600 msec\n'
}
case "$what" in
normal) head "$1"; converged; end ;;
scf_not_converged)
    head "$1"
    printf '               *        SCF NOT CONVERGED AFTER 500 CYCLES         *\n\n'
    printf 'ORCA finished by error termination in SCF\n'
    printf '[file orca_tools/qcmsg.cpp, line 394]: \n  .... aborting the run\n'
    exit 55 ;;
near)
    head "$1"
    printf '%s\n' 'Number of basis functions                   ...     25' \
        'Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     Damp  Time(sec)' \
        '-------------------------------------------------------------------------------' \
        '  498    -76.0009000000000000    -2.00e-03  9.00e-04  8.00e-03  0.00   0.1' \
        '  499    -76.0010000000000000    -1.00e-04  1.00e-04  1.00e-03  0.00   0.1'
    printf '               *        SCF NOT CONVERGED AFTER 500 CYCLES         *\n\n'
    printf 'ORCA finished by error termination in SCF\n'
    cp "$control/orca.gbw" orca.gbw
    exit 55 ;;
iterations)
    head "$1"
    printf '%s\n' 'Number of basis functions                   ...     25' \
        'Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     Damp  Time(sec)' \
        '-------------------------------------------------------------------------------' \
        '    1    -75.9000000000000000     0.00e+00  9.00e-03  8.00e-02  0.70   0.1' \
        '    2    -75.9900000000000000    -9.00e-02  1.00e-03  1.00e-02  0.70   0.1' \
        '    3    -76.0000000000000000    -1.00e-02  1.00e-05  1.00e-04  0.00   0.1'
    converged; end ;;
memory)
    head "$1"
    printf '  Please increase MaxCore to more than: 4289 MB\n'
    printf 'ORCA finished by error termination in SCF gradient\n'
    exit 55 ;;
input_error)
    head "$1"
    printf '                    INPUT ERROR\n  UNRECOGNIZED OR DUPLICATED KEYWORD(S) IN SIMPLE INPUT LINE\n'
    exit 1 ;;
crash) head "$1"; kill -SEGV $$ ;;
hang) head "$1"; exec sleep 1000 ;;
stubborn) trap '' TERM; head "$1"; while :; do sleep 1; done ;;
slow) head "$1"; sleep 1; converged; end ;;
wait) head "$1"; while [ ! -e "$control/go" ]; do sleep 0.05; done; converged; end ;;
slower) head "$1"; sleep 4; converged; end ;;
half) head "$1"; converged ;;
stderr) head "$1"; awk 'BEGIN { for (i = 0; i < 100000; i++) print "error" }' >&2; converged; end ;;
silent) exit 0 ;;
exit*) head "$1"; exit "${what#exit}" ;;
nonsense) head "$1"; converged | sed 's/-76\.0/-20006124.3/'; end ;;
foreign) head "$1" | sed 's/oact_attempt: .*/oact_attempt: somebodyelse/'; converged; end ;;
esac
"""


class TestEngine:
    """An engine whose behaviour for each structure can be changed while tests run.

    Behaviours: normal, scf_not_converged, crash (SIGSEGV), hang, stubborn (hangs and ignores SIGTERM), slow (1 s),
    slower (4 s), wait (for a file go in the control folder), near (SCF nearly converged; leaves the control
    folder's orca.gbw), memory (asks for more), input_error, half (no end), stderr (fills its standard error, and
    ends well), silent (no output, exit code 0), exitN (no end, exit code N), nonsense (a normal end and an absurd
    energy), foreign (echoes another attempt's token). Several words are those of a structure's attempts in turn.
    """

    __test__ = False

    def __init__(self, folder: Path, default: str = "normal") -> None:
        self._control = folder / "engine-control"
        self._control.mkdir(parents=True)
        self.path = folder / "orca"
        self.path.write_text(_SCRIPT.replace("@CONTROL@", str(self._control)))
        self.path.chmod(0o755)
        self.set(default)

    @property
    def control(self) -> Path:
        """The folder of the behaviours."""
        return self._control

    def set(self, behaviour: str, *structures: int) -> None:
        """Choose the behaviour for these structures, or for all that have none of their own."""
        for name in map(str, structures) if structures else ("default",):
            (self._control / name).write_text(behaviour)

    @property
    def runs(self) -> list[int]:
        """``orig_index`` of each calculation that was ever started, in their order."""
        file = self._control / "runs"
        return [int(line) for line in file.read_text().split()] if file.exists() else []
