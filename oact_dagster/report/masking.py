"""The text of ``campaign.yaml`` without what may be secret, for other readers."""

import re
from collections.abc import Iterator
from typing import Final

import yaml

MASK: Final = "(hidden)"

SECRET_KEYS: Final = ("environment", "webhook")
"""Keys whose values are hidden at any level: variables of calculations, and an address to post to."""

# Secrets that the text itself shows: password=…, a token in a header, https://user:password@host.
_ASSIGNED: Final = re.compile(
    r"(?i)(\b[\w-]*(?:token|secret|passw(?:or)?d|api[_-]?key|authorization)[\w-]*[\"']?\s*[=:]\s*)"
    r"(\"[^\"\n]*\"|'[^'\n]*'|(?:bearer\s+|basic\s+)?[^\s\"',}\]]+)"
)
_IN_ADDRESS: Final = re.compile(r"(?i)(\bhttps?://[^\s/@:\"']*:)([^\s/@\"']+)(?=@)")
_COMMENTED: Final = re.compile(rf"(?m)(^[^\S\n]*#.*?\b(?:{'|'.join(SECRET_KEYS)})\s*:[^\S\n]*)(\S.*)$")


def without_secrets(text: str) -> str:
    """Replace everything in a settings file that may be secret with :data:`MASK`.

    Hides the values below ``environment`` and ``webhook``, and anything called a token, secret, password or key.

    Args:
        text: YAML.

    Raises:
        ValueError: the text is not YAML, so secrets in it cannot be found.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {getattr(error, 'problem', None) or error}") from None
    spans = sorted(set(_secret_spans(root)), reverse=True) if root is not None else []
    for start, end in spans:
        # A block's span includes the end of the line.
        end = start + len(text[start:end].rstrip())
        text = text[:start] + MASK + text[end:]
    text = _COMMENTED.sub(rf"\g<1>{MASK}", text)
    text = _IN_ADDRESS.sub(rf"\g<1>{MASK}", text)
    return _ASSIGNED.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    return found.group(0) if found.group(2) in ("null", "~", MASK) else f"{found.group(1)}{MASK}"


def _secret_spans(root: yaml.Node) -> Iterator[tuple[int, int]]:
    """Yield start and end of each value below a key of :data:`SECRET_KEYS`."""
    waiting: list[tuple[yaml.Node, bool]] = [(root, False)]
    seen: set[tuple[int, bool]] = set()
    while waiting:
        node, secret = waiting.pop()
        # An alias is the same node as its anchor, which may contain itself.
        if (id(node), secret) in seen:
            continue
        seen.add((id(node), secret))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                named = isinstance(key, yaml.ScalarNode) and key.value in SECRET_KEYS
                waiting.append((value, secret or named))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend((item, secret) for item in node.value)
        elif secret and isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null":
            yield node.start_mark.index, node.end_mark.index
