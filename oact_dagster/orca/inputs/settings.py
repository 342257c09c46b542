"""The settings of an ORCA input: what a chemist chooses, and what follows for each element."""

from dataclasses import dataclass

from oact_dagster.errors import InputRefused
from oact_dagster.orca.elements import ACTINIDES
from oact_dagster.orca.inputs import potentials
from oact_dagster.orca.inputs.basis import is_file
from oact_dagster.orca.inputs.scf_method import ScfMethod
from oact_dagster.orca.inputs.templates import DEFAULT_MAXITER, TEMPLATES, Template


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Everything that an input needs besides the structure. ``check_settings`` lists what is refused."""

    functional: str = "wB97M-V"
    """Functional in ORCA's spelling, optionally with further keywords (``PBE0 D4``)."""
    simple_input: str = "omol"
    """Template: omol, x2c or dk3."""
    actinide_basis: str | None = None
    """Basis of the actinides, as a name or a file; None: the template's, if it has one."""
    actinide_ecp: str | None = None
    """Core potential of the actinides; None: the template's, if it has one."""
    non_actinide_basis: str = "def2-TZVPD"
    """Basis of all other elements, as a name or a file (with a ``/``, or ending in .bas or .gbs)."""
    scf_maxiter: int | None = None
    """Largest number of SCF iterations; None: the template's."""
    nbo: bool = False
    """Run a natural bond orbital analysis."""
    mbis: bool = False
    """Compute minimal-basis iterative stockholder charges."""
    kdiis: bool = False
    opt: bool = False
    """Optimise the geometry; otherwise compute one energy and gradient."""
    uks_singlet: bool = False
    """Break the spin symmetry of singlets: unrestricted, with HOMO and LUMO of one spin mixed. Other multiplicities are
    not affected."""
    n_cores: int = 4
    maxcore: int | None = None
    """Memory of each process in MB; None: estimated from the size of the basis."""
    extra_lines: tuple[str, ...] = ()
    """The user's own lines before the coordinates, such as ``! TightOpt`` or ``%geom MaxIter 99 end``."""
    scf: ScfMethod | None = None
    """SCF convergence method; None: that of the template and ``kdiis``."""

    def __post_init__(self) -> None:
        """Accept any sequence of extra lines, but not a string, which would be split into letters."""
        if isinstance(self.extra_lines, str):
            raise InputRefused(f"extra_lines is {self.extra_lines!r}; expected a list of lines")
        object.__setattr__(self, "extra_lines", tuple(self.extra_lines))

    @property
    def template(self) -> Template:
        """The template that ``simple_input`` names.

        Raises:
            InputRefused: There is no such template.
        """
        try:
            return TEMPLATES[self.simple_input]
        except KeyError:
            allowed = ", ".join(TEMPLATES)
            raise InputRefused(f"simple_input is {self.simple_input!r}; expected one of {allowed}") from None

    @property
    def scf_method(self) -> ScfMethod:
        """The SCF convergence method; ``scf`` takes precedence over ``kdiis``."""
        if self.scf is not None:
            return self.scf
        return ScfMethod(accelerator="KDIIS") if self.kdiis else ScfMethod()

    @property
    def scf_iterations(self) -> int:
        """Largest number of SCF iterations, by default the template's."""
        return self.scf_maxiter or DEFAULT_MAXITER

    @property
    def line_basis(self) -> str | None:
        """Basis on the ``!`` line: that of the non-actinides, or None if it is a file."""
        return None if is_file(self.non_actinide_basis) else self.non_actinide_basis

    def basis_of(self, element: str) -> str | None:
        """Return the name or file of an element's basis, or None for an actinide without one."""
        if element in ACTINIDES:
            return self.actinide_basis or self.template.actinide_basis
        return self.non_actinide_basis

    def named_ecp_of(self, element: str) -> str | None:
        """Return the core potential that the input names for an element (``NewECP``), or None."""
        if element in ACTINIDES:
            return self.actinide_ecp or self.template.actinide_ecp
        return None

    def ecp_of(self, element: str) -> str | None:
        """Return the core potential that ORCA uses on an element, named or implied, or None.

        ``NewGTO`` changes no potential. The one implied by the basis on the ``!`` line therefore stays, even on an
        element with another basis. Without a basis on that line ORCA starts from def2-SVP and its potentials (manual
        6.0, sections 7.5.3 and 7.5.7), which the relativistic templates switch off with ``NoECP``.
        """
        if named := self.named_ecp_of(element):
            return named
        if self.line_basis is not None:
            return potentials.brought_by(self.line_basis, element)
        return None if self.template.hamiltonian else potentials.brought_by("def2-SVP", element)
