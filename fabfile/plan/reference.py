"""Where a secret is kept: the settings name its place, never the secret itself."""

from __future__ import annotations

SCHEMES = ("ssm", "env", "file")
FORMS = "`ssm:NAME`, `env:VARIABLE` or `file:PATH`"


def why_not_reference(text: str, setting: str) -> str | None:
    """Return why a setting's text does not say where a secret is kept, with the way out; None where it does.

    It may be the secret itself, written where only its place belongs: so it is not repeated.

    :param setting: path of the setting, as messages name it.
    """
    scheme, colon, name = text.partition(":")
    if colon and scheme in SCHEMES and name.strip():
        return None
    return f"{setting}: must be {FORMS}, which say where the secret is kept, not the secret itself"
