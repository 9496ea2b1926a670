"""Settings from the environment: ``FABRIC_HEADWAY_RELEASE_GROUP`` is ``headway.release.group``.

Fabric itself maps a variable only to a key that it has met, and by the type of the value it met there: it knows no key
that a ``fabric.yml`` leaves out, cannot turn a text into a list, and takes ``false`` for true. Hence our own mapping,
which knows every setting; what the text means is decided where every other value is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from .outcome import Refusal

PREFIX = "FABRIC_HEADWAY_"

Path = tuple[str, ...]


def given_by(variables: Mapping[str, str], settings: Iterable[Path], raw: Mapping[str, Any]) -> dict[Path, str | None]:
    """Find which settings the environment gives.

    :param variables: the whole environment; only names that begin with :data:`PREFIX` count.
    :param settings: path of every setting there is.
    :param raw: what the files say: its ``envs``, and its mappings, whose entries have variables too.
    :return: value by path; None for an empty variable, which takes a setting back to its default.
    :raises Refusal: a variable that means no setting.
    """
    known = {variable_of(path): path for path in _leaves(raw)}
    for path in settings:
        for prefix in ((), *(("envs", str(name)) for name in raw.get("envs") or {})):
            known[variable_of((*prefix, *path))] = (*prefix, *path)
    given: dict[Path, str | None] = {}
    for variable, value in variables.items():
        if not variable.startswith(PREFIX):
            continue
        if variable not in known:
            close = get_close_matches(variable, known, n=1, cutoff=0.8)
            raise Refusal(f"{variable}: no such setting" + (f"; did you mean {close[0]}?" if close else ""))
        given[known[variable]] = value or None
    return given


def variable_of(path: Path) -> str:
    """Name the variable of a setting."""
    return PREFIX + "_".join(path).upper().replace("-", "_")


def nested(given: Mapping[Path, Any]) -> dict[str, Any]:
    """Make the mapping that a file would hold, of values by path."""
    tree: dict[str, Any] = {}
    for path, value in given.items():
        here = tree
        for key in path[:-1]:
            here = here.setdefault(key, {})
        here[path[-1]] = value
    return tree


def _leaves(tree: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, str(key)))
        else:
            yield (*above, str(key))
