"""Reading a settings file's YAML."""

from typing import Any

import yaml


def read_settings(text: str) -> Any:
    """What a settings file holds.

    Raises:
        ValueError: it is not YAML, or a key stands there twice; the text says where and why, to be put after the
            file's name.
    """
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ValueError(f"{where}: not YAML: {problem}") from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: otherwise the last one would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for (key_node, _), key in reversed(list(zip(node.value, keys, strict=True))):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} stands there twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)
