"""GnuPG: the key that signs the Apt repository.

Secrets come from the environment alone: ``APT_GPG_KEY`` may hold the armored private key (a CI system's secret) and
``APT_GPG_PASSPHRASE`` its passphrase. Neither is ever in argv, in a log or in a message.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..plan.outcome import Refusal
from .process import Finished, run

if TYPE_CHECKING:
    from ..plan.settings import Settings

KEY_VARIABLE = "APT_GPG_KEY"
PASSPHRASE_VARIABLE = "APT_GPG_PASSPHRASE"  # noqa: S105 - the variable's name
QUIET = ("gpg", "--batch", "--no-tty", "--quiet")


@dataclass(frozen=True)
class Key:
    """A key that can sign now.

    :param home: gpg's home that holds it; None is gpg's own.
    :param expires: when it stops signing, or None for never.
    """

    fingerprint: str
    home: Path | None
    expires: datetime | None


@contextlib.contextmanager
def signing_key(settings: Settings, now: datetime) -> Iterator[Key]:
    """Give the key of ``headway.apt``, checked to sign now.

    A key in the variable ``APT_GPG_KEY`` is imported into a home of its own, which is gone afterwards.

    :raises Refusal: no such key, several that fit, revoked, expired, or not made for signing.
    """
    home = Path(settings.apt.gnupg_home).expanduser() if settings.apt.gnupg_home else None
    armored = os.environ.get(KEY_VARIABLE)
    if not armored:
        yield find_key(settings.apt.key, home, now)
        return
    with temporary_home() as own:
        imported = _gpg(own, ["--import"], stdin=armored, check=False)
        if imported.code:
            raise Refusal(f"{KEY_VARIABLE}: gpg cannot import it; it must be one armored private key")
        yield find_key(settings.apt.key, own, now)


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """Give an empty home for gpg, in a short path (its sockets' paths are limited), and remove it with its agent."""
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    try:
        yield home
    finally:
        stop_agent(home)
        shutil.rmtree(home, ignore_errors=True)


def find_key(name: str | None, home: Path | None, now: datetime) -> Key:
    """Return the one secret key of that fingerprint or address (or the only one there is) that can sign.

    :raises Refusal: there is none, there are several, or it cannot sign; one line with the way out.
    """
    where = f"in {home}" if home else "in gpg's keyring"
    called = f"headway.apt.key {name!r}" if name else "headway.apt.key: not set, and"
    if home is not None and not home.is_dir():
        raise Refusal(f"headway.apt.gnupg_home: {home} is not a folder; fab apt.key makes a key there")
    # "--" keeps a name that starts with a hyphen from being an option.
    listed = _gpg(home, ["--with-colons", "--list-secret-keys", "--", *([name] if name else [])], check=False)
    found = _split_keys(listed.stdout)
    if not found:
        raise Refusal(f"{called}: no such secret key {where}; import it, or fab apt.key makes one")
    if len(found) > 1:
        prints = ", ".join(_fingerprint(key) for key in found)
        raise Refusal(f"{called}: {len(found)} secret keys fit {where}; set its fingerprint, one of {prints}")
    reason = _why_not_signing(found[0], now)
    if reason:
        raise Refusal(f"{called}: {_fingerprint(found[0])} {reason}")
    return Key(_fingerprint(found[0]), home, _expires(found[0]))


def make_key(home: Path, name: str) -> str:
    """Make a signing key without passphrase in a home of gpg, unless it has one for that name; return its fingerprint.

    For the local cloud and for a first try; a production key lives in the CI system's secrets.

    :raises Refusal: the home cannot be made.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Refusal(f"headway.apt.gnupg_home: {home} cannot be made a folder ({error.strerror})") from None
    user = f"{name} Apt repository <{name}@localhost>"
    there = _split_keys(_gpg(home, ["--with-colons", "--list-secret-keys", "--", f"={user}"], check=False).stdout)
    if there:
        return _fingerprint(there[0])
    _gpg(
        home,
        ["--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"],
    )
    made = _split_keys(_gpg(home, ["--with-colons", "--list-secret-keys", "--", f"={user}"]).stdout)
    return _fingerprint(made[0])


def clearsign(text: str, key: Key) -> bytes:
    """Sign a text in place: what InRelease is."""
    return _sign(text, key, "--clear-sign")


def detached(text: str, key: Key) -> bytes:
    """Sign a text in a file of its own: what Release.gpg is."""
    return _sign(text, key, "--detach-sign")


def public_key(key: Key, *, armored: bool) -> bytes:
    """Export the public key, for ``Signed-By``."""
    with tempfile.TemporaryDirectory(prefix="key-") as folder:
        out = Path(folder) / "key"
        armor = ["--armor"] if armored else []
        _gpg(
            key.home, [*armor, "--output", str(out), "--export-options", "export-minimal", "--export", key.fingerprint]
        )
        return out.read_bytes()


def signed_text(signed: bytes, key: Key) -> str:
    """Return the text that a key of this keyring has signed, and nothing that stands around it.

    A signature by a key that has expired since is as good as it was: the keyring still vouches for the key.

    :raises ValueError: it is not signed, or by a key that the keyring does not know, or was changed since.
    """
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        out = Path(folder) / "text"
        argv = ["--status-fd", "1", "--output", str(out), "--verify"]
        checked = _gpg(key.home, argv, stdin=signed, check=False)
        words = {line.split()[1] for line in checked.stdout.splitlines() if line.startswith("[GNUPG:] ")}
        if {"VALIDSIG"} <= words and not words & {"BADSIG", "REVKEYSIG", "ERRSIG"} and out.exists():
            return out.read_text()
    if "NO_PUBKEY" in words:
        raise ValueError("its signature is by a key that is not in the keyring")
    raise ValueError("its signature does not match it" if "BADSIG" in words else "it is not signed")


def stop_agent(home: Path) -> None:
    """Stop the agent that gpg left running for a home."""
    run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def _sign(text: str, key: Key, how: str) -> bytes:
    """Sign through files, so that standard input is free for the passphrase."""
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    with tempfile.TemporaryDirectory(prefix="sign-") as folder:
        plain, out = Path(folder) / "Release", Path(folder) / "signed"
        plain.write_text(text)
        argv = ["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--digest-algo", "SHA512", "--armor"]
        argv += ["--local-user", key.fingerprint, "--output", str(out), how, str(plain)]
        finished = _gpg(key.home, argv, stdin=passphrase + "\n", check=False)
        if finished.code:
            said = (finished.stderr.strip().splitlines() or ["no message"])[-1]
            hint = f"; is {PASSPHRASE_VARIABLE} set?" if "passphrase" in said.lower() else ""
            raise Refusal(f"headway.apt.key {key.fingerprint}: gpg cannot sign with it: {said}{hint}")
        return out.read_bytes()


def _gpg(home: Path | None, arguments: list[str], *, stdin: str | bytes | None = None, check: bool = True) -> Finished:
    place = ["--homedir", str(home)] if home else []
    # The agent outlives this call: it must not inherit the secrets.
    plain = {"LC_ALL": "C", KEY_VARIABLE: "", PASSPHRASE_VARIABLE: ""}
    return run([*QUIET, *place, *arguments], stdin=stdin, check=check, env=plain)


def _split_keys(listing: str) -> list[list[list[str]]]:
    """Split gpg's listing into keys, each its records (``doc/DETAILS`` of GnuPG, "Format of the colon listings")."""
    keys: list[list[list[str]]] = []
    for line in listing.splitlines():
        record = line.split(":")
        if record[0] == "sec":
            keys.append([])
        if keys:
            keys[-1].append(record)
    return keys


def _fingerprint(key: list[list[str]]) -> str:
    return next(record[9] for record in key if record[0] == "fpr")


def _why_not_signing(key: list[list[str]], now: datetime) -> str | None:
    validity, capabilities, expires = key[0][1], key[0][11], _expires(key)
    if validity == "r":
        return "is revoked; make another, and let clients have its public key"
    if validity == "e" or (expires is not None and expires <= now):
        return "has expired; gpg --quick-set-expire FINGERPRINT 1y, and publish again"
    if "D" in capabilities or "S" not in capabilities:
        return "cannot sign; make one that can with fab apt.key"
    return None


def _expires(key: list[list[str]]) -> datetime | None:
    """Return when the last of its signing parts, or the key itself, runs out."""
    primary = key[0]
    parts = [
        record for record in key if record[0] in {"sec", "ssb"} and "s" in record[11] and record[1] not in {"r", "e"}
    ]
    ends = [float(record[6]) if record[6] else float("inf") for record in parts]
    last = min(max(ends, default=float("inf")), float(primary[6]) if primary[6] else float("inf"))
    return None if last == float("inf") else datetime.fromtimestamp(last, UTC)
