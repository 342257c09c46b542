"""Pictures inside markdown."""

import base64


def as_markdown(svg: str, alt: str) -> str:
    """An image of markdown that carries its picture.

    Args:
        svg: A picture.
        alt: What it shows, for who cannot see it; markdown's own characters in it are escaped.

    Returns:
        ``![alt](data:image/svg+xml;base64,...)`` on one line.
    """
    told = " ".join(alt.split())
    for character in ("\\", "[", "]", "`", "*", "_", "<", "!"):
        told = told.replace(character, "\\" + character)
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
