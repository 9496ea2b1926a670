"""Text of other people's programs, made fit to be shown and kept: no secrets, nothing that moves a cursor."""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "***"
LONGEST_LINE = 400  # characters that are shown
LONGEST_CAUSE = 1_000
_LONGEST_READ = 4_000  # characters of a line that are looked at

_WORDS = (
    r"pass(?:word|wd|phrase|(?![a-z]))|pwd|secret|token|api[_-]?key|[_-]key(?![a-z])|"
    r"credentials?|authorization|cookie|signature"
)
_NAME = rf"[\w.-]{{0,128}}(?:{_WORDS})[\w.-]{{0,128}}"
# NAME=value, name: value, "name": "value", \"name\":\"value\"; quoted values with all their blanks, and
# Authorization: Basic value.
_NAMED = re.compile(
    rf"""(?<![\w.-])(?P<name>{_NAME}\\?["']?)(?P<between>\s*(?:=>|:=|=|:)\s*)(?P<value>"""
    r"""\\"(?:[^"\\]|\\[^"])*(?:\\"|$)|\\'(?:[^'\\]|\\[^'])*(?:\\'|$)|"""
    r""""(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.)*(?:'|$)|"""
    r"""(?:bearer|basic|digest|negotiate|token)\s+[^\s,;"']+|[^\s,;&"'}\])]+)""",
    re.IGNORECASE,
)
_FLAG = re.compile(rf"(?<!\S)(?P<name>--?{_NAME})\s+(?P<value>[^\s-]\S*)", re.IGNORECASE)
_BEARER = re.compile(r"\b(?P<name>bearer)\s+[\w.~+/=:-]{8,}", re.IGNORECASE)
# As far as the last @, for a password with / or @ in it is often the very reason of a failure.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s:/@\"']*):[^\s\"']+@")
_URL_TOKEN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s:/@\"']{16,}@")
_SHAPES = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON Web Token
    r"|\b(?:gh[pousr]|github_pat|glpat|xox[abprs])[_-][\w-]{10,}"  # GitHub, GitLab, Slack
    r"|\bsk_live_\w{10,}"
)
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")
_KEY_LINE = re.compile(r"(?:^|: )\s*(?:[A-Za-z0-9+/=]+|(?:Proc-Type|DEK-Info): .*)?\s*$")  # as a journal has it, too


def masked(line: str) -> str:
    """Put asterisks in the place of what looks like a secret: a URL's password, the value of a name like TOKEN."""
    line = _URL.sub(rf"\g<scheme>\g<user>:{MASK}@", line)
    line = _URL_TOKEN.sub(rf"\g<scheme>{MASK}@", line)
    line = _BEARER.sub(rf"\g<name> {MASK}", line)
    line = _SHAPES.sub(MASK, line)
    line = _FLAG.sub(rf"\g<name> {MASK}", line)
    return _NAMED.sub(_hide_value, line)


def _hide_value(found: re.Match[str]) -> str:
    if found["name"] in ("PWD", "OLDPWD") and found["value"].startswith("/"):
        return found[0]  # a shell's folder
    quote = next((mark for mark in ('\\"', "\\'", '"', "'") if found["value"].startswith(mark)), "")
    return f"{found['name']}{found['between']}{quote}{MASK}{quote}"


def cleaned(text: str) -> Iterator[str]:
    """Yield the lines of a text, masked, without escape sequences, none longer than a person reads."""
    for line in _without_keys(_plain(text).split("\n")):
        shown = masked(line[:_LONGEST_READ]).rstrip()
        yield shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]}…"


def one_clean_line(text: str) -> str:
    """Return a text as one line, masked and without escape sequences."""
    line = " ".join(masked(" ".join(_plain(text).split())[:_LONGEST_READ]).split())
    return line if len(line) <= LONGEST_CAUSE else f"{line[:LONGEST_CAUSE]}…"


def _plain(text: str) -> str:
    """Take out what a terminal would obey; a carriage return ends a line, as it does for whoever reads along."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return _CONTROLS.sub("", text)


def _without_keys(lines: list[str]) -> list[str]:
    """Mask private keys, also one whose begin or end lies outside of what was read."""
    kept: list[str] = []
    inside = False
    for line in lines:
        begins, ends = _KEY_BEGIN.search(line), _KEY_END.search(line)
        if begins:
            kept.append(line[: begins.start()] + MASK)
            inside = ends is None
        elif ends and not inside:
            while kept and _KEY_LINE.search(kept[-1]):
                kept.pop()
            kept.append(MASK)
        elif ends or (inside and _KEY_LINE.search(line)):
            inside = ends is None
        else:
            kept.append(line)
            inside = False
    return kept
