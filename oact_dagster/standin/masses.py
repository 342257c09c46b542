"""Atomic masses in unified atomic mass units, which ORCA's coordinate table lists for each atom."""

from typing import Final

from oact_dagster.orca.elements import SYMBOLS

# IUPAC's standard atomic weights to three decimals; mass numbers where an element has no stable isotope.
_MASSES: Final = (
    "1.008 4.003 6.940 9.012 10.810 12.011 14.007 15.999 18.998 20.180 22.990 24.305 26.982 28.085 30.974 "
    "32.060 35.450 39.950 39.098 40.078 44.956 47.867 50.942 51.996 54.938 55.845 58.933 58.693 63.546 "
    "65.380 69.723 72.630 74.922 78.971 79.904 83.798 85.468 87.620 88.906 91.224 92.906 95.950 98.000 "
    "101.070 102.905 106.420 107.868 112.414 114.818 118.710 121.760 127.600 126.904 131.293 132.905 "
    "137.327 138.905 140.116 140.908 144.242 145.000 150.360 151.964 157.250 158.925 162.500 164.930 "
    "167.259 168.934 173.045 174.967 178.486 180.948 183.840 186.207 190.230 192.217 195.084 196.967 "
    "200.592 204.380 207.200 208.980 209.000 210.000 222.000 223.000 226.000 227.000 232.038 231.036 "
    "238.029 237.000 244.000 243.000 247.000 247.000 251.000 252.000 257.000 258.000 259.000 262.000"
)

MASSES: Final[dict[str, float]] = dict(zip(SYMBOLS, map(float, _MASSES.split()), strict=True))
"""Atomic mass of each symbol, H to Lr."""
