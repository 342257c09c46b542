"""Read the YAML of a settings file."""

from typing import Any

import yaml


def read_settings(text: str) -> Any:
    """Read the content of a settings file.

    Raises:
        ValueError: it is not YAML, or a key is repeated; the text, with line and reason, belongs after the file's name.
    """
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ValueError(f"{where}: not YAML: {problem}") from None


class _UniqueKeys(yaml.SafeLoader):
    """A YAML loader that refuses repeated keys, of which the last would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for (key_node, _), key in reversed(list(zip(node.value, keys, strict=True))):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is repeated", key_node.start_mark)
        return super().construct_mapping(node, deep)
