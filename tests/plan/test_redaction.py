"""Other programs' text, made fit to be shown and kept."""

from __future__ import annotations

import pytest

from fabfile.plan.redaction import LONGEST_LINE, cleaned, masked, one_clean_line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("postgres://shop:hunter2@db:5432/shop refused", "postgres://shop:***@db:5432/shop refused"),
        (
            'invalid port "hunt" in "postgres://shop:hunt/er@2@db/x"',
            'invalid port "hunt" in "postgres://shop:***@db/x"',
        ),
        ("redis://:hunter2@cache/0", "redis://:***@cache/0"),
        ("cloning https://0123456789abcdef0123@git.example/x", "cloning https://***@git.example/x"),
        ("DB_PASS=hunter2 PORT=80", "DB_PASS=*** PORT=80"),
        ("aws_secret_access_key = hunter2", "aws_secret_access_key = ***"),
        ("Server=db;Pwd=hunter2;Port=1", "Server=db;Pwd=***;Port=1"),
        ("SIGNING_KEY=hunter2", "SIGNING_KEY=***"),
        ('{"password": "hunt\\"er2", "port": 80}', '{"password": "***", "port": 80}'),
        ('msg="{\\"token\\":\\"hunter2\\"}" x', 'msg="{\\"token\\":\\"***\\"}" x'),
        ("{'api_key': 'hunter2'}", "{'api_key': '***'}"),
        ("host=db password='hunter 2' user=shop", "host=db password='***' user=shop"),
        ("run --password hunter2 --port 80", "run --password *** --port 80"),
        ("run --password=hunter2 --port 80", "run --password=*** --port 80"),
        ("Authorization: Basic aHVudGVyMg== sent", "Authorization: *** sent"),
        ("got Bearer abcdef.hunter2 twice", "got Bearer *** twice"),
        ("GET /f?X-Amz-Signature=0a1b&x=1", "GET /f?X-Amz-Signature=***&x=1"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl end", "jwt *** end"),
    ],
)
def test_what_looks_like_a_secret_is_masked(line: str, shown: str) -> None:
    assert masked(line) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "line",
    [
        'FATAL: password authentication failed for user "shop"',
        'duplicate key value violates unique constraint "orders_pkey"',
        "GET http://10.0.0.1:8080/health 503",
        "mail to ann@example.com: port 8080 taken",
        "checks passed: 12, basic configuration loaded",
        "git@bitbucket.org:team/shop.git",
        "token count is 3",
        "PWD=/srv/shop ; USER=root",
    ],
)
def test_what_explains_a_failure_stays(line: str) -> None:
    assert masked(line) == line


def test_a_private_key_is_masked_also_when_half_of_it_was_cut_off() -> None:
    body = ["MIIEpAIBAAKCAQEA" + "a" * 48, "q1w2=="]
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    prefix = "2026-01-01T00:00:00 host shop[7]: "
    assert list(cleaned("\n".join(["a b.", begin, *body, end, "c d."]))) == ["a b.", "***", "c d."]
    assert list(cleaned("\n".join([*(prefix + line for line in (*body, end)), "c d."]))) == ["***", "c d."]
    assert list(cleaned("\n".join([f"key {begin}", *body, "it went on."]))) == ["key ***", "it went on."]


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    text = "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\a \u202eevil\x9b1A\rback\ttab\r\n"
    assert list(cleaned(text)) == ["red evil1A", "back    tab", ""]


def test_a_long_line_is_cut_after_it_was_masked() -> None:
    (line,) = cleaned("x" * (LONGEST_LINE - 12) + " TOKEN=hunter2hunter2hunter2")
    assert "hunter" not in line
    (line,) = cleaned("x" * 10_000)
    assert line == "x" * LONGEST_LINE + "…"
    assert one_clean_line(" a\n  b\tPASSWORD=c ") == "a b PASSWORD=***"
