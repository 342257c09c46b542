"""The functionals that ORCA 6 has a keyword for, and the composite methods, which bring their own basis."""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

_NAMES: Final = """
HF HFS HFLDA XAlpha LDA LSD VWN VWN3 VWN5 PWLDA
BP86 BP BLYP OLYP GLYP XLYP PW91 mPWPW mPWLYP BNULL BVWN BPW BPW91 BPBE GP PWP PWP1 PBE revPBE RPBE PW86PBE
RPW86PBE OPBE LB94 B97-D B97-D3 B97-D4
TPSS revTPSS SCANfunc RSCAN R2SCAN M06L B97M-V B97M-D3BJ B97M-D4
B1LYP B1P B1P86 B1PBE B1PW B1PW91 B3LYP B3LYP/G B3LYP_G B3LYP_TM B3P B3P86 B3PBE B3PW B3PW91 O3LYP X3LYP BHandHLYP
BHLYP PBE0 revPBE0 revPBE38 PW1PW PW91_0 mPW1PW mPW1LYP B97 G1LYP G1P G3LYP G3P
TPSSh TPSS0 M06 M062X PW6B95 R2SCANh R2SCAN0 R2SCAN50
wB97 wB97X wB97X-V wB97X-D3 wB97X-D3BJ wB97X-D4 wB97X-D4rev wB97M-V wB97M-D3BJ wB97M-D4 wB97M-D4rev CAM-B3LYP
LC-BLYP LC-PBE LRC-PBE wR2SCAN XHF
B2PLYP B2K-PLYP B2T-PLYP B2GP-PLYP mPW2PLYP PWPB95 PBE-QIDH PBE0-DH PBE0-2 DSD-BLYP DSD-PBEP86 DSD-PBEB95
revDSD-PBEP86/2021 revDSD-PBEP86-D4/2021 revDOD-PBEP86/2021 revDOD-PBEP86-D4/2021 R2SCAN-CIDH R2SCAN-QIDH R2SCAN0-DH
R2SCAN0-2 Pr2SCAN50 Pr2SCAN69 kPr2SCAN50 wPr2SCAN50 wB2PLYP wB2GP-PLYP RSX-QIDH RSX-0DH wB88PP86 wPBEPP86 wB97X-2
wB97X-2(TQZ) wB97M(2) SCS/SOS-B2PLYP21 SCS-PBE-QIDH SOS-PBE-QIDH SCS-B2GP-PLYP21 SOS-B2GP-PLYP21 SCS/SOS-wB2PLYP
SCS-wB2GP-PLYP SOS-wB2GP-PLYP SCS-RSX-QIDH SOS-RSX-QIDH SCS-wB88PP86 SOS-wB88PP86 SCS-wPBEPP86 SOS-wPBEPP86
"""
_COMPOSITE: Final = re.compile(r".*3c|.*gcp.*/6-31g.*|fod", re.IGNORECASE)
_DISPERSION: Final = re.compile(r"(.+)-(D2|D3|D3BJ|D3ZERO|D4|NL)", re.IGNORECASE)
_FROM_LIBXC: Final = re.compile(r"libxc\(\S+\)", re.IGNORECASE)
_BESIDE: Final = re.compile(
    r"(u|r|ro)(ks|hf)|d2|d3(bj|zero|tz)?|d4|(sc)?nl|abc|gcp|(no)?frozencore|(no)?ri", re.IGNORECASE
)
"""Words that may accompany a functional but are not one."""


@cache
def functionals() -> Mapping[str, str]:
    """Return the functionals in ORCA's spelling, by lower-case name (ORCA ignores case)."""
    return MappingProxyType({name.lower(): name for name in _NAMES.split()})


def known_functional(word: str) -> str | None:
    """Return a functional in the spelling of ORCA's manual, or None if it is not known."""
    small = word.lower()
    if small.startswith("dlpno-") and small[6:] in functionals():
        return f"DLPNO-{functionals()[small[6:]]}"
    return word if _FROM_LIBXC.fullmatch(word) else functionals().get(small)


def is_composite(word: str) -> bool:
    """Return whether a keyword is a method with its own basis, potentials and corrections (``r2SCAN-3c``)."""
    return _COMPOSITE.fullmatch(word) is not None


def doubt(words: Sequence[str]) -> str | None:
    """Return a warning if no word of the setting ``functional`` is a known functional, with the likely one, or None."""
    unknown = [word for word in words if not _BESIDE.fullmatch(word)]
    if not unknown or any(known_functional(word) for word in words):
        return None
    name = unknown[0]
    meant = None
    if (parts := _DISPERSION.fullmatch(name)) and (stem := known_functional(parts[1])):
        meant = f"{stem} {parts[2].upper()}"
    elif near := difflib.get_close_matches(name.lower(), functionals(), n=1):
        meant = functionals()[near[0]]
    hint = f" (did you mean {meant}?)" if meant else ""
    return f"unknown functional {name}{hint}: ORCA refuses a name that it does not know"
