"""From what Fabric gathered under ``headway`` to settings, or to one line: what is wrong, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from .freeze import read_windows
from .outcome import Refusal
from .reference import why_not_reference
from .settings import Settings, describe_settings, section_of, value_of_mapping
from .variables import given_by, nested, variable_of

KEY = "headway"  # what our settings stand under
LONGEST_VALUE = 80  # characters of a wrong value that a message shows

# Ours for what pydantic says of a value; the rest of its messages read well with "must be".
PLAIN_MESSAGES = {
    "string_type": "must be text: put it in quotes",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping of settings",
    "model_attributes_type": "must be a mapping of settings",
}


def read_settings(raw: Any, env: str | None = None, variables: Mapping[str, str] | None = None) -> Settings:
    """Validate settings, and lay the env's own over the base, and the environment's variables over both.

    All envs are checked, not only the one asked for: a mistake in prod is found when dev is released.

    :param raw: what stands under ``headway`` in the files; None stands for "not set".
    :param env: name of the env, or None for a task that works without one.
    :param variables: the process's environment.
    :raises Refusal: unknown key, wrong type, unknown env: one line with the path and the nearest valid name.
    """
    base = _without_unset(_mapping(raw, "headway"))
    envs = _envs(raw, base.pop("envs", {}))
    given = given_by(variables or {}, [setting.path for setting in describe_settings()], {**base, "envs": envs})
    if env is not None and env not in envs:
        known = ", ".join(sorted(envs)) or "none yet: add it under headway.envs in fabric.yml"
        raise Refusal(f"headway.envs: no env {env!r}{_nearest(env, envs)} (envs: {known})")
    from_variables = nested(given)
    for_envs = from_variables.pop("envs", {})
    for name, own in envs.items():
        if name != env:
            _validate(_laid_over(base, own), name, [(own, f"headway.envs.{name}")])
    own, theirs = envs.get(env or "", {}), _laid_over(from_variables, for_envs.get(env or "", {}))
    values = _without_unset(_laid_over(_laid_over(base, own), theirs))
    return _validate(values, env, [(theirs, ""), (own, f"headway.envs.{env}")])


def why_misnamed(keys: Iterable[str]) -> str | None:
    """Return which key of the files is likely to be ours, misspelt; None where ours is there, or none is near it."""
    known = {key.lower(): key for key in keys}
    if KEY in known.values():
        return None
    close = get_close_matches(KEY, known, n=1, cutoff=0.8)
    return f"{known[close[0]]}: no such setting; did you mean {KEY}?" if close else None


def _envs(raw: Any, envs: Any) -> dict[str, dict[str, Any]]:
    """Read the envs; one that is only named (``dev:``) has no settings of its own, but it exists."""
    named = raw.get("envs") if isinstance(raw, Mapping) else None
    found: dict[Any, Any] = {name: {} for name in named} if isinstance(named, Mapping) else {}
    found.update(_mapping(envs, "headway.envs"))
    return {str(name): dict(_mapping(own, f"headway.envs.{name}")) for name, own in found.items()}


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Refusal(f"{path}: must be a mapping of settings (got {_short(value)})")
    if "env" in value and path != "headway.envs":
        raise Refusal(f"{path}.env: no such setting; --env says which env")
    return value


def _without_unset(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a mapping without its None: a key with nothing after it."""
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping):
            kept[str(key)] = _without_unset(value)
        elif value is not None:
            kept[str(key)] = value
    return kept


def _laid_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _laid_over(merged[key], value) if both else value
    return merged


def _validate(values: Mapping[str, Any], env: str | None, sources: list[tuple[Mapping[str, Any], str]]) -> Settings:
    """Make settings of values; an error names the first of the sources that holds the value, else the base."""
    try:
        settings = Settings.model_validate({**values, "env": env})
    except ValidationError as error:
        # An unknown key comes first: it may be the misspelt name of one that another error finds missing.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        location = tuple(str(part) for part in first["loc"])
        held = location[:-1] if first["type"] == "missing" else location
        where = next((name for values, name in sources if _holds(values, held)), "headway")
        raise Refusal(_explain(where, location, first["type"], first["msg"], first.get("input"))) from None
    read_windows(settings.release.freeze, _path_in(sources, ("release", "freeze")))
    url = settings.database.url if settings.database else None
    if url is not None and (reason := why_not_reference(url, _path_in(sources, ("database", "url")))):
        raise Refusal(reason)
    return settings


def _path_in(sources: list[tuple[Mapping[str, Any], str]], location: tuple[str, ...]) -> str:
    """Name a setting by where its value stands: a variable, an env's own, or the base."""
    where = next((name for values, name in sources if _holds(values, location)), "headway")
    return ".".join((where, *location)) if where else variable_of(location)


def _holds(values: Mapping[str, Any], location: Iterable[str]) -> bool:
    here: Any = values
    for part in location:
        if not isinstance(here, Mapping) or part not in here:
            return False
        here = here[part]
    return True


def _explain(where: str, location: tuple[str, ...], kind: str, message: str, given: object) -> str:
    path = ".".join((where, *location)) if where else variable_of(location)
    if kind == "extra_forbidden":
        parent = path.rsplit(".", 1)[0]
        return f"{path}: no such setting{_nearest(location[-1], _siblings(location[:-1]), f'{parent}.')}"
    if kind == "missing":
        return f"{path}: must be set"
    lowered = message[0].lower() + message[1:]
    said = PLAIN_MESSAGES.get(kind, lowered.replace("input should be", "must be").replace("string should", "must"))
    field = _field_at(location)
    if kind == "string_pattern_mismatch" and field is not None:
        said = f"must be such as {' or '.join(str(each) for each in field.examples or ())}"
    if field is not None and not field.repr:
        return f"{path}: {said}"
    return f"{path}: {said} (got {_short(given)})"


def _short(given: object) -> str:
    shown = repr(given)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"


def _field_at(location: Iterable[str]) -> FieldInfo | None:
    """Find what the schema says of a setting; names that people choose themselves are passed over."""
    section: type[BaseModel] | None = Settings
    field: FieldInfo | None = None
    parts = iter(location)
    for part in parts:
        if section is None or part not in section.model_fields:
            return None if section is not None else field
        field = section.model_fields[part]
        section = section_of(field.annotation)
        if section is None and (section := section_of(value_of_mapping(field.annotation))) is not None:
            next(parts, None)
    return field


def _siblings(location: Iterable[str]) -> list[str]:
    """Name the keys that may stand below a path."""
    section: type[BaseModel] | None = Settings
    parts = iter(location)
    for part in parts:
        annotation = section.model_fields[part].annotation if section else None
        section = section_of(annotation)
        if section is None:
            section = section_of(value_of_mapping(annotation))
            next(parts, None)
    if section is None:
        return []
    own = [key for key in section.model_fields if key != "env"]
    return [*own, "envs"] if section is Settings else own


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
