"""Explain validation errors of settings on one line, with the key and what is allowed."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo


def explain_errors(error: ValidationError, model: type[BaseModel]) -> str:
    """All errors that pydantic found in settings of this model, on one line."""
    return "; ".join(explain(item, model) for item in error.errors())


def explain(item: Any, model: type[BaseModel]) -> str:
    """One of pydantic's ``error.errors()``, with its key and what is allowed."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        allowed = list(_model_at(model, location[:-1]).model_fields)
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{key}: no such setting{hint}; allowed: {', '.join(allowed)}"
    if item["type"] == "missing":
        about = _field(model, location).description
        return f"{key}: is missing" + (f"; give {about}" if about else "")
    if item["type"] in ("tuple_type", "list_type"):
        return f"{key}: must be a list, such as [one, two] (given: {item.get('input')!r})"
    if item["type"] == "dict_type":
        such = [f", such as {example}" for example in _field(model, location).examples or ()]
        return f"{key}: must contain `key: value` lines{''.join(such[:1])} (given: {item.get('input')!r})"
    if item["type"] == "string_pattern_mismatch":
        return f"{key}: must be letters, digits and _ only (given: {item.get('input')!r})"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    shown = "" if isinstance(given, (dict, list)) else f" (given: {given!r})"
    return f"{key}: {message}{shown}" if key else message


def _field(model: type[BaseModel], location: list[str]) -> FieldInfo:
    return _model_at(model, location[:-1]).model_fields[location[-1]]


def _model_at(model: type[BaseModel], location: list[str]) -> type[BaseModel]:
    """The model of the settings at a location, which may pass through the members of a list."""
    for part in location:
        if part.isdecimal():
            continue
        annotation = model.model_fields[part].annotation
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model
