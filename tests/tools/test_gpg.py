"""The signing key: a real gpg, real keys."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fabfile.plan.outcome import Refusal
from fabfile.plan.settings import Settings
from fabfile.tools import gpg

NOW = datetime.now(UTC)


def make(
    home: Path, user: str, *options: str, expires: str = "never", usage: str = "sign", passphrase: str = ""
) -> None:
    subprocess.run(
        [
            *(
                "gpg",
                "--homedir",
                home,
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                passphrase,
            ),
            *(*options, "--quick-generate-key", user, "ed25519", usage, expires),
        ],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def home() -> Iterator[Path]:
    with gpg.temporary_home() as folder:
        yield folder


def test_a_key_is_made_once(home: Path) -> None:
    made = gpg.make_key(home, "shop")
    assert gpg.make_key(home, "shop") == made
    assert gpg.find_key(None, home, NOW) == gpg.Key(made, home, None)
    assert gpg.find_key("shop@localhost", home, NOW).fingerprint == made
    assert gpg.make_key(home, "till") != made


def test_what_is_signed_is_read_back_and_what_was_changed_is_not(home: Path) -> None:
    gpg.make_key(home, "shop")
    key = gpg.find_key(None, home, NOW)
    signed = gpg.clearsign("Suite: stable\n- dash\nünï\n", key)
    assert gpg.signed_text(signed, key) == "Suite: stable\n- dash\nünï\n"
    with pytest.raises(ValueError, match="does not match"):
        gpg.signed_text(signed.replace(b"stable", b"edible"), key)
    with pytest.raises(ValueError, match="not signed"):
        gpg.signed_text(b"Suite: stable\n", key)
    assert gpg.signed_text(b"Suite: unsigned\n" + signed, key) == "Suite: stable\n- dash\nünï\n"


def test_a_strangers_signature_is_not_believed(home: Path) -> None:
    gpg.make_key(home, "shop")
    with gpg.temporary_home() as other:
        gpg.make_key(other, "stranger")
        signed = gpg.clearsign("Suite: stable\n", gpg.find_key(None, other, NOW))
    with pytest.raises(ValueError, match="not in the keyring"):
        gpg.signed_text(signed, gpg.find_key(None, home, NOW))


def test_a_detached_signature_and_the_public_key_are_good_for_apts_own_verifier(home: Path, tmp_path: Path) -> None:
    gpg.make_key(home, "shop")
    key = gpg.find_key(None, home, NOW)
    (tmp_path / "Release").write_text("Suite: stable\n")
    (tmp_path / "Release.gpg").write_bytes(gpg.detached("Suite: stable\n", key))
    (tmp_path / "ring.gpg").write_bytes(gpg.public_key(key, armored=False))
    assert gpg.public_key(key, armored=True).startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
    argv = ["gpgv", "--keyring", "./ring.gpg", "Release.gpg", "Release"]
    assert subprocess.run(argv, cwd=tmp_path, check=False, capture_output=True).returncode == 0


def test_an_expired_key_is_refused(home: Path) -> None:
    make(home, "Old <old@example.com>", "--faked-system-time", "20200101T000000", expires="1y")
    with pytest.raises(Refusal, match=r"'old@example.com': [0-9A-F]{40} has expired"):
        gpg.find_key("old@example.com", home, NOW)


def test_a_key_that_is_about_to_expire_says_when(home: Path) -> None:
    make(home, "New <new@example.com>", expires="2d")
    expires = gpg.find_key(None, home, NOW).expires
    assert expires
    assert 1 <= (expires - NOW).days <= 2


def test_a_key_that_cannot_sign_is_refused(home: Path) -> None:
    make(home, "Certifier <c@example.com>", usage="cert")
    with pytest.raises(Refusal, match="cannot sign"):
        gpg.find_key("c@example.com", home, NOW)


def test_a_missing_key_is_refused_with_the_way_out(home: Path) -> None:
    with pytest.raises(Refusal, match=r"'nobody@example.com': no such secret key .* fab apt\.key makes one"):
        gpg.find_key("nobody@example.com", home, NOW)
    with pytest.raises(Refusal, match="not a folder"):
        gpg.find_key(None, home / "none", NOW)


def test_of_several_keys_one_has_to_be_named(home: Path) -> None:
    prints = {gpg.make_key(home, "shop"), gpg.make_key(home, "till")}
    with pytest.raises(Refusal, match="2 secret keys fit") as refused:
        gpg.find_key(None, home, NOW)
    assert all(one in str(refused.value) for one in prints)


def test_a_key_with_a_passphrase_signs_when_it_is_in_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(home, "Shop <shop@example.com>", passphrase="open sesame")
    gpg.stop_agent(home)  # which remembers the passphrase of a key that it has just made
    key = gpg.find_key(None, home, NOW)
    with pytest.raises(Refusal, match=r"cannot sign with it.*is APT_GPG_PASSPHRASE set\?") as refused:
        gpg.clearsign("x\n", key)
    monkeypatch.setenv(gpg.PASSPHRASE_VARIABLE, "close sesame")
    with pytest.raises(Refusal, match="cannot sign with it") as wrong:
        gpg.clearsign("x\n", key)
    assert "sesame" not in str(refused.value) + str(wrong.value)
    monkeypatch.setenv(gpg.PASSPHRASE_VARIABLE, "open sesame")
    assert gpg.signed_text(gpg.clearsign("x\n", key), key) == "x\n"


def test_a_key_in_the_environment_is_imported_for_the_moment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = gpg.make_key(home, "shop")
    armored = subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--armor", "--export-secret-keys", made],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    monkeypatch.setenv(gpg.KEY_VARIABLE, armored)
    with gpg.signing_key(Settings(), NOW) as key:
        assert key.fingerprint == made
        assert key.home not in {None, home}
        assert gpg.signed_text(gpg.clearsign("x\n", key), key) == "x\n"
    assert key.home
    assert not key.home.exists()
    monkeypatch.setenv(gpg.KEY_VARIABLE, "not a key")
    with pytest.raises(Refusal, match="APT_GPG_KEY: gpg cannot import it"), gpg.signing_key(Settings(), NOW):
        pass


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match=r"headway\.apt\.gnupg_home: .* cannot be made a folder"):
        gpg.make_key(tmp_path / "file", "shop")
