"""What every picture must be."""

import xml.etree.ElementTree as ET

DRAWN = ("d", "x", "y", "width", "height", "r", "transform")
NAMESPACE = "{http://www.w3.org/2000/svg}"


def parsed(svg: str, most_bytes: int = 60_000) -> ET.Element:
    """Parse a picture: well-formed, not too long, without numbers that are none."""
    assert len(svg.encode()) <= most_bytes
    root = ET.fromstring(svg)
    assert root.tag == f"{NAMESPACE}svg"
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    for node in root.iter():
        for name, value in node.attrib.items():
            if name in DRAWN:
                assert "nan" not in value, (name, value)
                assert "inf" not in value, (name, value)
    return root


def texts(root: ET.Element) -> list[str]:
    """All lines of text, in order."""
    return [node.text or "" for node in root.iter(f"{NAMESPACE}text")]


def tooltips(root: ET.Element) -> list[str]:
    """What the rectangles tell under the pointer."""
    return [
        node.findtext(f"{NAMESPACE}title") or ""
        for node in root.iter(f"{NAMESPACE}rect")
        if node.find(f"{NAMESPACE}title") is not None
    ]


def says_nothing(svg: str) -> bool:
    return "nothing yet" in "".join(texts(parsed(svg)))
