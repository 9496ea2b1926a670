"""Connection strings: what is added to them, and what is never seen of them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fabfile.plan.outcome import Failed, Refusal
from fabfile.tools import postgres

TIMEOUT = "-c lock_timeout=2000"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@h:5432/d",
        "postgres://u:p@h/d?sslmode=disable",
        "postgresql:///d?host=/run/postgresql",
        "postgresql://u@h1,h2/d?target_session_attrs=read-write",
        "host=h user=u password='a b' dbname=d",
    ],
)
def test_options_are_added_and_everything_else_stays(dsn: str) -> None:
    after = conninfo_to_dict(postgres.with_options(dsn, TIMEOUT))
    assert after.pop("options") == TIMEOUT
    assert after == conninfo_to_dict(dsn)


@pytest.mark.parametrize("dsn", ["postgresql://h/d?options=-c%20a.b%3D1&sslmode=disable", "host=h options='-c a.b=1'"])
def test_options_go_after_those_that_are_there(dsn: str) -> None:
    assert conninfo_to_dict(postgres.with_options(dsn, TIMEOUT))["options"] == f"-c a.b=1 {TIMEOUT}"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_a_password_is_cut_out_in_every_form_it_may_stand_in(password: str) -> None:
    assume(not set(password) & set("<>"))  # ours, to see where the hidden part ends
    words = make_conninfo(host="h", password=password)
    assert postgres.HIDDEN in postgres.redacted(f"at <{password}> it failed", words)
    assert postgres.redacted(f"<{words}>", words) == f"<{postgres.HIDDEN}>"


def test_the_encoded_form_of_a_password_is_cut_out_too() -> None:
    dsn = "postgresql://u:can%2Fary@h/d"
    said = postgres.redacted(f"{dsn} can/ary can%2Fary", dsn)
    assert "ary" not in said


def test_what_is_no_connection_string_is_refused_without_being_repeated() -> None:
    with pytest.raises(Refusal) as refused:
        postgres.connect("canary canary")
    assert "canary" not in str(refused.value)


def test_a_server_that_is_not_there_is_named_but_not_the_password() -> None:
    with pytest.raises(Failed, match=r"127\.0\.0\.1") as failed:
        postgres.connect("postgresql://u:canary@127.0.0.1:1/d")
    assert "canary" not in str(failed.value)
