"""Keys of a YAML file that stand in it twice: its reader keeps the last one and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def why_twice(path: Path, key: str) -> str | None:
    """Return which key stands twice at or below one of a file's own, and in which lines; None where none does.

    YAML asks keys of a mapping to be unique (https://yaml.org/spec/1.2.2/#mapping); PyYAML does not.

    :param path: a YAML file that can be read; of any other file there is nothing to say.
    :param key: at the top of the file.
    """
    yaml = _yaml()
    if path.suffix not in (".yml", ".yaml"):
        return None
    try:
        root = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):  # whoever reads its content says so
        return None
    found = _twice(root, (), key, set())
    if found is None:
        return None
    name, above, first, second = found
    where = f" under {'.'.join(above)}" if above else ""
    return f"{path}, line {second}: {name} stands here again{where}, after line {first}; make one of the two"


def _twice(node: Any, above: tuple[str, ...], only: str | None, seen: set[int]) -> tuple[Any, ...] | None:
    """Find the first key that a mapping, or one below it, has twice: its name, what it is under, both lines."""
    yaml = _yaml()
    if id(node) in seen:  # an alias, perhaps of what holds it
        return None
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return next((found for each in node.value if (found := _twice(each, above, None, seen))), None)
    lines: dict[str, int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name, line = str(key.value), key.start_mark.line + 1
        if name == "<<" or only not in (None, name):
            continue
        if name in lines:
            return name, above, lines[name], line
        lines[name] = line
        if found := _twice(value, (*above, name), None, seen):
            return found
    return None


def _yaml() -> Any:
    """Return the PyYAML that Fabric reads its files with: Invoke brings one, unless a distribution took it out."""
    from importlib import import_module

    return import_module("invoke.util").yaml
