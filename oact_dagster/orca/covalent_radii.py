"""Covalent radii of the elements, from which it is told which atoms are bound to each other."""

from typing import Final

from oact_dagster.orca.elements import SYMBOLS

# pm, in the order of the atomic numbers. H to Cm: B. Cordero et al., Dalton Trans. 2008, 2832 (carbon: sp3; Mn, Fe and
# Co: high spin, the larger ones). Bk to Lr, which that work leaves out: P. Pyykkö and M. Atsumi, Chem. Eur. J. 15, 186
# (2009), single bonds.
_PICOMETRES: Final = """
31 28 128 96 84 76 71 66 57 58 166 141 121 111 107 105 102 106
203 176 170 160 153 139 161 152 150 124 132 122 122 120 119 120 120 116
220 195 190 175 164 154 147 146 142 139 145 144 142 139 139 138 139 140
244 215 207 204 203 201 199 198 198 196 194 192 192 189 190 187 187 175 170 162 151 144 141 136 136 132 145 146 148
140 150 150
260 221 215 206 200 196 190 187 180 169 168 168 165 167 173 176 161
"""

COVALENT_RADII: Final[dict[str, float]] = {
    symbol: int(radius) / 100 for symbol, radius in zip(SYMBOLS, _PICOMETRES.split(), strict=True)
}
"""Å, of each element from H to Lr."""
