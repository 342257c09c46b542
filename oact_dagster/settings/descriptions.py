"""Describe a setting from its field, for ``campaign.yaml``, docs/settings.md and the help of commands."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_PLAIN: Final = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+\-{}]*")
_NOT_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "."})


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section; None for a single setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def setting_text(field: FieldInfo) -> str:
    """The meaning of a setting, with the range of its numbers."""
    words = []
    for limit in limits_of(field):
        if isinstance(limit, Ge):
            words.append(f"{limit.ge:g} or more")
        elif isinstance(limit, Gt):
            words.append(f"above {limit.gt:g}")
        elif isinstance(limit, Le):
            words.append(f"at most {limit.le:g}")
    meaning, mark, more = str(field.description).partition("; ")
    return meaning + (f" ({', '.join(words)})" if words else "") + mark + more


def limits_of(field: FieldInfo) -> Iterator[Any]:
    """The constraints on the value of a setting, also if it may be null."""
    yield from field.metadata
    yield from _limits_in(field.annotation)


def _limits_in(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        for item in annotation.__metadata__:
            yield from item.metadata if isinstance(item, FieldInfo) else [item]
    for inner in get_args(annotation):
        yield from _limits_in(inner)


def yaml_value(value: Any) -> str:
    """A value in YAML, on one line. JSON is YAML, too."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(yaml_value, value))}]"
    if value is None or isinstance(value, (bool, int, float, dict)):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    # Inside a list, YAML gives braces and commas a meaning.
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)
