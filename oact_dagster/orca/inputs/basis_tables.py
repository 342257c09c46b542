"""The elements that ORCA's basis sets cover, and the number of functions for each.

Coverage is that of ORCA 6.1 (manual 6.0, table 7.10, and 6.1, section 2.7). The numbers count contracted
spherical functions (2l + 1 for each shell) and are used to estimate memory. They come from the Basis Set Exchange
0.12 unless a comment says otherwise; where ORCA uses its own contraction they may be off by a few.
"""

from typing import Final

_DEF2_SVP: Final = (
    "H-He 5, Li-Be 9, B-Ne 14, Na 15, Mg-Ar 18, K-Ca 24, Sc-Zn 31, Ga-Kr 32, Rb 24, Sr 23, Y-Cd 31, In-I 26, "
    "Xe 50, Cs 24, Ba 30, La 32, Ce-Ho 78, Er-Lu 81, Hf-Hg 32, Tl-At 26, Rn 50"
)
_DEF2_TZVP: Final = (
    "H-He 6, Li 14, Be 19, B-Ne 31, Na-Mg 32, Al-Ar 37, K 33, Ca 36, Sc-Cu 45, Zn-Kr 48, Rb-Sr 33, Y-Cd 40, "
    "In-Xe 50, Cs 29, Ba-La 40, Ce-Ho 93, Er-Lu 96, Hf-Au 40, Hg 43, Tl-Rn 50"
)
_DEF2_TZVPP: Final = (
    "H-He 14, Li-Be 19, B-Ne 31, Na-Mg 32, Al-Ar 42, K 33, Ca 36, Sc-Zn 64, Ga-Kr 48, Rb-Sr 40, Y-Cd 56, "
    "In-Xe 50, Cs 36, Ba 40, La 56, Ce-Ho 102, Er-Lu 105, Hf-Au 56, Hg 59, Tl-Rn 50"
)
_DEF2_QZVPP: Final = (
    "H-He 30, Li 35, Be 36, B-Ne 57, Na 58, Mg 63, Al-Ca 70, Sc-Cr 93, Mn-Zn 100, Ga-Kr 89, Rb-Sr 63, Y-Mo "
    "81, Tc-Cd 88, In-Xe 82, Cs 62, Ba 60, La 81, Ce 141, Pr-Pm 138, Sm 141, Eu-Tm 138, Yb 141, Lu 138, Hf-W "
    "81, Re-Hg 88, Tl-Rn 82"
)

# The def2 sets recontracted for DKH2 or ZORA keep the exponents and one contraction for each angular momentum
# (manual 6.0, section 4.3.1). Counted: that contraction, and every other primitive as a function of its own.
_RECONTRACTED_SVP: Final = "H-He 5, Li-Be 9, B-Ne 14, Na 17, Mg-Ar 20, K-Ca 34, Sc-Zn 41, Ga-Kr 42"
_RECONTRACTED_TZVP: Final = (
    "H-He 6, Li 15, Be 20, B-Ne 32, Na-Mg 35, Al-Ar 40, K 43, Ca 46, Sc-Cu 55, Zn-Ge 58, As-Kr 61"
)
_RECONTRACTED_TZVPP: Final = (
    "H-He 14, Li-Be 20, B-Ne 32, Na-Mg 35, Al-Ar 45, K 43, Ca 46, Sc-Zn 74, Ga-Ge 58, As-Kr 61"
)
_RECONTRACTED_QZVPP: Final = (
    "H-He 30, Li 36, Be 37, B-Ne 58, Na 60, Mg 65, Al-Ar 75, K-Ca 85, Sc-Cr 108, Mn-Zn 115, Ga-Kr 104"
)

# Rb-Ba (added in ORCA 5) are not in the Basis Set Exchange; these numbers are at least those of any similar set.
_SARC_TZVP: Final = "Rb-Xe 100, Cs-Ba 110, La 99, Ce-Lu 120, Hf-Hg 111, Tl-Rn 137, Ac-Lr 159"

COVERAGE: Final[dict[str, str]] = {
    "def2-SV(P)": (
        "H 2, He 5, Li-Be 9, B-Ne 14, Na 15, Mg-Ar 18, K-Zn 24, Ga-Kr 32, Rb 24, Sr 23, Y-Cd 24, In-I 26, Xe "
        "50, Cs 24, Ba 30, La 25, Ce-Ho 69, Er-Lu 72, Hf-Hg 25, Tl-At 26, Rn 50"
    ),
    "def2-SVP": _DEF2_SVP,
    "def2-TZVP": _DEF2_TZVP,
    "def2-TZVP(-f)": _DEF2_TZVP,  # somewhat fewer
    "def2-TZVPP": _DEF2_TZVPP,
    "def2-QZVP": (
        "H-He 30, Li 35, Be 36, B-Ne 57, Na 46, Mg 51, Al-Ar 70, K-Ca 56, Sc-Zn 84, Ga-Kr 75, Rb-Sr 49, Y-Cd "
        "72, In-Xe 82, Cs 48, Ba 60, La 72, Ce 121, Pr-Pm 118, Sm 121, Eu-Tm 118, Yb 121, Lu 118, Hf-Hg 72, "
        "Tl-Rn 82"
    ),
    "def2-QZVPP": _DEF2_QZVPP,
    # Diffuse sets. Ce-Lu (from ORCA 6.1) are not in the Basis Set Exchange; counted as the set without diffuse
    # functions plus one shell each of s, p, d and f.
    "def2-SVPD": (
        "H-He 8, Li-Be 12, B-N 20, O-Ne 23, Na 18, Mg 21, Al-P 24, S-Ca 27, Sc-Zn 34, Ga-As 38, Se-Kr 41, Rb "
        "27, Sr 26, Y-Cd 34, In-Sb 32, Te-I 35, Xe 59, Cs 27, Ba 33, La 35, Ce-Lu 97, Hf-Hg 35, Tl-Bi 32, "
        "Po-At 35, Rn 59"
    ),
    "def2-TZVPD": (
        "H-He 9, Li 17, Be 22, B-N 37, O-Ne 40, Na-Mg 35, Al-P 43, S-Ar 46, K-Ca 36, Sc-Cu 48, Zn 51, Ga-As "
        "54, Se-Kr 57, Rb-Sr 33, Y-Cd 40, In-Sb 56, Te-Xe 59, Cs 32, Ba 40, La 43, Ce-Lu 112, Hf-Au 43, Hg "
        "46, Tl-Bi 56, Po-Rn 59"
    ),
    "def2-TZVPPD": (
        "H-He 17, Li-Be 22, B-N 37, O-Ne 40, Na-Mg 35, Al-P 48, S-Ar 51, K-Ca 36, Sc-Zn 67, Ga-As 54, Se-Kr "
        "57, Rb-Sr 40, Y-Sb 56, Te-Xe 59, Cs 39, Ba 40, La 59, Ce-Lu 121, Hf-Au 59, Hg 62, Tl-Bi 56, Po-Rn "
        "59"
    ),
    "def2-QZVPD": (
        "H-He 33, Li 35, Be 36, B-N 63, O-Ne 66, Na 46, Mg 51, Al-P 76, S-Ar 79, K-Ca 56, Sc-Zn 84, Ga-As "
        "81, Se-Kr 84, Rb-Sr 49, Y-Cd 72, In-Sb 88, Te-Xe 91, Cs 48, Ba 60, La 72, Ce-Lu 137, Hf-Re 75, "
        "Os-Hg 72, Tl-Bi 88, Po-Rn 91"
    ),
    "def2-QZVPPD": (
        "H-He 33, Li 35, Be 36, B-N 63, O-Ne 66, Na 58, Mg 63, Al-P 76, S-Ar 79, K-Ca 70, Sc-Cr 93, Mn-Zn "
        "100, Ga-As 95, Se-Kr 98, Rb-Sr 63, Y-Mo 81, Tc-Sb 88, Te-Xe 91, Cs 62, Ba 60, La 81, Ce-Lu 157, "
        "Hf-W 84, Re 91, Os-Bi 88, Po-Rn 91"
    ),
    # 11s10p5d4f1g on every actinide, as ORCA 6.1 prints it for U and Np; Fr and Ra have fewer.
    "ma-def-TZVP": "Fr-Lr 103",
    "def-TZVP": "Fr-Lr 99",
    "x2c-SV(P)all": (
        "H 2, He 5, Li-Be 9, B-Ne 14, Na 15, Mg-Ar 18, K-Ca 24, Sc-Zn 29, Ga-Kr 32, Rb-Sr 43, Y-Ag 46, Cd "
        "49, In-Xe 36, Cs-Ba 54, La 59, Ce-Yb 76, Lu 69, Hf-Au 66, Hg 69, Tl-Rn 62"
    ),
    "x2c-SVPall": (
        "H-He 5, Li-Be 9, B-Ne 14, Na 15, Mg-Ar 18, K-Ca 24, Sc-Zn 36, Ga-Kr 32, Rb-Sr 50, Y-Ag 53, Cd 56, "
        "In-Xe 36, Cs-Ba 54, La 66, Ce-Yb 85, Lu 78, Hf-Au 66, Hg 69, Tl-Rn 62"
    ),
    "x2c-TZVPall": (
        "H-He 6, Li 14, Be 19, B-Ne 31, Na-Mg 32, Al-Ar 37, K 33, Ca 36, Sc-Kr 48, Rb-Cd 63, In-Xe 60, Cs-Ba "
        "69, La 81, Ce-Yb 104, Lu 90, Hf-Hg 81, Tl-Rn 83"
    ),
    "x2c-TZVPPall": (
        "H-He 14, Li-Be 19, B-Ne 31, Na-Mg 32, Al-Ar 42, K 33, Ca 36, Sc-Zn 64, Ga-Kr 48, Rb-Cd 79, In-Xe "
        "60, Cs-Ba 85, La 97, Ce-Yb 113, Lu 99, Hf-Hg 97, Tl-Rn 83"
    ),
    "x2c-QZVPall": (
        "H-He 30, Li 35, Be 36, B-Ne 57, Na-Mg 54, Al-Ar 70, K 59, Ca 66, Sc-Cr 87, Mn-Co 94, Ni-Zn 99, Ga "
        "80, Ge-Kr 83, Rb-Sr 111, Y-Mo 102, Tc-Cd 109, In-Xe 112, Cs-Ba 139, La 151, Ce-Yb 160, Lu 151, "
        "Hf-Hg 135, Tl-Rn 142"
    ),
    "x2c-QZVPPall": (
        "H-He 30, Li 35, Be 36, B-Ne 57, Na-Mg 66, Al-Ar 70, K-Ca 73, Sc-Cr 96, Mn-Co 103, Ni-Zn 108, Ga 94, "
        "Ge-Kr 97, Rb-Mo 111, Tc-Cd 118, In-Xe 112, Cs-Ba 139, La 151, Ce-Yb 180, Lu 151, Hf-W 144, Re-Hg "
        "151, Tl-Rn 142"
    ),
    "DKH-def2-SVP": _RECONTRACTED_SVP,
    "DKH-def2-TZVP": _RECONTRACTED_TZVP,
    "DKH-def2-TZVP(-f)": _RECONTRACTED_TZVP,
    "DKH-def2-TZVPP": _RECONTRACTED_TZVPP,
    "DKH-def2-QZVPP": _RECONTRACTED_QZVPP,
    "ZORA-def2-SVP": _RECONTRACTED_SVP,
    "ZORA-def2-TZVP": _RECONTRACTED_TZVP,
    "ZORA-def2-TZVP(-f)": _RECONTRACTED_TZVP,
    "ZORA-def2-TZVPP": _RECONTRACTED_TZVPP,
    "ZORA-def2-QZVPP": _RECONTRACTED_QZVPP,
    "SARC-DKH-SVP": "Hf-Hg 111",
    "SARC-DKH-TZVP": _SARC_TZVP,
    "SARC-DKH-TZVPP": _SARC_TZVP,
    "SARC-ZORA-SVP": "Hf-Hg 111",
    "SARC-ZORA-TZVP": _SARC_TZVP,
    "SARC-ZORA-TZVPP": _SARC_TZVP,
    "SARC2-DKH-QZV": "La-Lu 127",
    "SARC2-DKH-QZVP": "La-Lu 176",
    "SARC2-ZORA-QZV": "La-Lu 127",
    "SARC2-ZORA-QZVP": "La-Lu 176",
    "ANO-RCC-DZP": (
        "H-He 5, Li-Ne 14, Na-Ar 18, K-Ca 22, Sc-Zn 34, Ga-Kr 27, Rb-Sr 31, Y-Xe 43, Cs-Ba 47, La-Os 68, "
        "Ir-Hg 59, Tl-Rn 68, Fr-Ra 72, Ac-Cm 84"
    ),
    "ANO-RCC-TZP": (
        "H-He 14, Li-Ne 30, Na-Ar 34, K-Ca 38, Sc-Zn 59, Ga-Kr 43, Rb-Sr 47, Y-Xe 68, Cs-Ba 72, La-Os 104, "
        "Ir-Hg 84, Tl-Rn 93, Fr-Ra 97, Ac-Cm 120"
    ),
    "ANO-RCC-QZP": (
        "H-He 30, Li-Ne 55, Na-Ar 59, K-Ca 63, Sc-Zn 95, Ga-Kr 68, Rb-Sr 72, Y-Cd 104, In-Xe 93, Cs-Ba 97, "
        "La-Os 140, Ir-Hg 120, Tl-Rn 118, Fr-Ra 113, Ac-Cm 156"
    ),
    "cc-pVDZ": "H-He 5, Li-Ne 14, Na-Ar 18, Ca 27, Sc-Zn 43, Ga-Kr 27",
    # Y, Ag and Au are ORCA's additions to the correlation-consistent sets; these numbers are estimates.
    "cc-pVTZ": "H-He 14, Li-Ne 30, Na-Ar 34, Ca 43, Sc-Zn 68, Ga-Kr 43, Y 93, Ag 93, Au 120",
    "cc-pVQZ": "H-He 30, Li-Ne 55, Na-Ar 59, Ca 68, Sc-Zn 104, Ga-Kr 68",
    "aug-cc-pVDZ": "H-He 9, Li-Ne 23, Na-Ar 27, Sc-Zn 59, Ga-Kr 36",
    "aug-cc-pVTZ": "H-He 23, Li-Ne 46, Na-Ar 50, Sc-Zn 93, Ga-Kr 59, Ag 120, Au 140",
    "aug-cc-pVQZ": "H-He 46, Li-Ne 80, Na-Ar 84, Sc-Zn 140, Ga-Kr 93",
}
"""Functions for each element, by the set's name in ORCA's spelling. A set does not cover an element it omits."""

FROM_ORCA_6_1: Final[frozenset[str]] = frozenset(
    {"def2-SVPD", "def2-TZVPD", "def2-TZVPPD", "def2-QZVPD", "def2-QZVPPD"}
)
"""Sets that include Ce to Lu only from ORCA 6.1 on (Rappoport, J. Chem. Phys. 155, 124102, 2021)."""

MINIMALLY_AUGMENTED: Final[tuple[str, ...]] = (
    *("def2-SV(P)", "def2-SVP", "def2-TZVP", "def2-TZVP(-f)", "def2-TZVPP", "def2-QZVP", "def2-QZVPP"),
    *("DKH-def2-SVP", "DKH-def2-TZVP", "DKH-def2-TZVP(-f)", "DKH-def2-TZVPP", "DKH-def2-QZVPP"),
    *("ZORA-def2-SVP", "ZORA-def2-TZVP", "ZORA-def2-TZVP(-f)", "ZORA-def2-TZVPP", "ZORA-def2-QZVPP"),
)
"""Sets that also exist as ``ma-…``, with one more diffuse s and one more diffuse p shell."""

UNKNOWN_SET: Final = "H-He 46, Li-Ne 80, Na-Ar 84, K-Xe 140, Cs-Rn 180, Fr-Lr 240"
"""Upper estimate for a set that is not in the tables or comes from a file: the size of a large quadruple-zeta set.

Rows 1 to 4 are aug-cc-pVQZ, row 5 repeats row 4, row 6 is x2c-QZVPPall, and row 7 is the full contraction of ANO-RCC.
No set in the tables is larger.
"""
