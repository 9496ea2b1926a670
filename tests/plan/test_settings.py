"""Settings: what is laid over what, and the one line that answers each mistake."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.plan.outcome import Refusal
from fabfile.plan.reading import _field_at, read_settings
from fabfile.plan.settings import Setting, Settings, describe_settings
from fabfile.plan.variables import given_by, nested, variable_of

ROOT = Path(__file__).parents[2]
EVERY = list(describe_settings())
ENVS = {"dev": {"release": {"poll_s": 1}}, "prod": {}}


def refusal_of(raw: Any, env: str | None = None, **variables: str) -> str:
    with pytest.raises(Refusal) as caught:
        read_settings(raw, env, variables)
    message = str(caught.value)
    assert caught.value.code == 2
    assert "\n" not in message
    return message


class TestLayers:
    """The base, the env's own over it, and the environment's variables over both."""

    @pytest.mark.parametrize("nothing", [{}, None, {"release": None}, {"release": {"group": None}}])
    def test_nothing_set_is_all_defaults(self, nothing: Any) -> None:
        assert read_settings(nothing) == Settings.model_validate({})

    def test_an_envs_own_values_win_over_the_base_and_leave_the_rest(self) -> None:
        raw = {"release": {"poll_s": 7, "group": "g"}, "envs": ENVS}
        dev, prod = read_settings(raw, "dev"), read_settings(raw, "prod")
        assert (dev.release.poll_s, dev.release.group) == (1, "g")
        assert (prod.release.poll_s, prod.release.group) == (7, "g")

    def test_an_env_that_is_only_named_exists(self) -> None:
        assert read_settings({"envs": {"dev": None}}, "dev").env == "dev"

    def test_a_variable_wins_over_the_env_and_the_base(self) -> None:
        raw = {"release": {"poll_s": 7}, "envs": ENVS}
        assert read_settings(raw, "dev", {"FABRIC_HEADWAY_RELEASE_POLL_S": "3"}).release.poll_s == 3

    def test_a_variable_of_one_env_wins_over_that_of_all_and_does_not_reach_others(self) -> None:
        variables = {"FABRIC_HEADWAY_RELEASE_POLL_S": "3", "FABRIC_HEADWAY_ENVS_DEV_RELEASE_POLL_S": "4"}
        assert read_settings({"envs": ENVS}, "dev", variables).release.poll_s == 4
        assert read_settings({"envs": ENVS}, "prod", variables).release.poll_s == 3

    def test_a_variable_reaches_an_env_with_a_dash_in_its_name(self) -> None:
        variables = {"FABRIC_HEADWAY_ENVS_DEV_EU_REGION": "eu-west-1"}
        assert read_settings({"envs": {"dev-eu": {}}}, "dev-eu", variables).region == "eu-west-1"

    def test_an_empty_variable_takes_a_setting_back_to_its_default(self) -> None:
        assert read_settings({"endpoint": "http://x"}, None, {"FABRIC_HEADWAY_ENDPOINT": ""}).endpoint is None

    def test_a_variable_of_an_entry_of_a_mapping_changes_that_entry(self) -> None:
        raw = {"test": {"environment": {"LEVEL": "1", "OTHER": "2"}}}
        read = read_settings(raw, None, {"FABRIC_HEADWAY_TEST_ENVIRONMENT_LEVEL": "9"})
        assert read.test.environment == {"LEVEL": "9", "OTHER": "2"}

    @pytest.mark.parametrize("no", ["false", "0", "no", "off"])
    def test_no_in_a_variable_is_no(self, no: str) -> None:
        raw = {"release": {"keep_previous": True}}
        assert not read_settings(raw, None, {"FABRIC_HEADWAY_RELEASE_KEEP_PREVIOUS": no}).release.keep_previous

    def test_commas_in_a_variable_make_a_list(self) -> None:
        read = read_settings({}, None, {"FABRIC_HEADWAY_PACKAGE_DEPENDS": "python3, libpq5"})
        assert read.package.depends == ("python3", "libpq5")

    def test_other_variables_are_not_ours(self) -> None:
        assert read_settings({}, None, {"FABRIC_RUN_ECHO": "1", "HEADWAY_X": "1", "PATH": "/"}) == read_settings({})


class TestMistakes:
    """One line each, with the path of what is wrong and the nearest that is right."""

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            ("x", "headway: must be a mapping of settings (got 'x')"),
            ({"releese": {}}, "headway.releese: no such setting; did you mean headway.release?"),
            ({"env": "dev"}, "headway.env: no such setting; --env says which env"),
            ({"zzzzz": 1}, "headway.zzzzz: no such setting"),
            ({"release": {"gruop": 1}}, "headway.release.gruop: no such setting; did you mean headway.release.group?"),
            ({"build": "docker"}, "headway.build: must be a mapping of settings (got 'docker')"),
            ({"name": 15}, "headway.name: must be text: put it in quotes (got 15)"),
            ({"name": "The Shop"}, "headway.name: must be such as shop (got 'The Shop')"),
            ({"endpoint": "localhost:4750"}, "headway.endpoint: must be such as http://127.0.0.1:4750 (got"),
            ({"region": "$(id) x"}, "headway.region: must be such as eu-west-1 (got"),
            ({"release": {"state": "/var/state"}}, "headway.release.state: must be such as s3://my-bucket/shop (got"),
            (
                {"release": {"health": {"path": "up"}}},
                "headway.release.health.path: must be such as /health (got 'up')",
            ),
            ({"release": {"evidence": {"unit": "a b"}}}, "evidence.unit: must be such as shop.service (got 'a b')"),
            ({"release": {"evidence": {"ssh_user": "a b"}}}, "evidence.ssh_user: must be such as admin (got 'a b')"),
            ({"release": {"poll_s": "soon"}}, "headway.release.poll_s: must be a number (got 'soon')"),
            ({"release": {"poll_s": 0}}, "headway.release.poll_s: must be greater than 0 (got 0)"),
            ({"lab": {"port": 1.5}}, "headway.lab.port: must be a whole number (got 1.5)"),
            ({"release": {"keep_previous": "perhaps"}}, "must be true or false (got 'perhaps')"),
            ({"release": {"health": {"via": "smoke"}}}, "headway.release.health.via: must be 'http' or 'balancer'"),
            ({"package": {"files": ["a"]}}, "headway.package.files: must be a mapping (got ['a'])"),
            ({"package": {"depends": 5}}, "headway.package.depends: must be a list (got 5)"),
            ({"package": {"service": {"user": "x"}}}, "headway.package.service.command: must be set"),
            (
                {"test": {"helpers": {"redis": {"image": "r", "prob": "p"}}}},
                "headway.test.helpers.redis.prob: no such setting; did you mean headway.test.helpers.redis.probe?",
            ),
            ({"envs": ["dev"]}, "headway.envs: must be a mapping of settings (got ['dev'])"),
            ({"envs": {"dev": "x"}}, "headway.envs.dev: must be a mapping of settings (got 'x')"),
            (
                {"envs": {"dev": {"release": {"gruop": 1}}}},
                "headway.envs.dev.release.gruop: no such setting; did you mean headway.envs.dev.release.group?",
            ),
            ({"envs": {"dev": {"lab": {"port": "x"}}}}, "headway.envs.dev.lab.port: must be a whole number (got 'x')"),
            (
                {"envs": {"dev": {"test": {"helpers": {"redis": {"image": "r"}}}}}},
                "headway.envs.dev.test.helpers.redis.probe: must be set",
            ),
        ],
    )
    def test_a_file_says_what_is_wrong_and_where(self, raw: Any, message: str) -> None:
        assert message in refusal_of(raw)

    def test_a_mistake_in_one_env_is_found_when_another_is_used(self) -> None:
        raw = {"envs": {"dev": {}, "prod": {"release": {"soak_s": -1}}}}
        assert refusal_of(raw, "dev").startswith("headway.envs.prod.release.soak_s: must be greater than or equal to 0")

    def test_a_mistake_in_the_base_is_not_blamed_on_an_env(self) -> None:
        assert refusal_of({"lab": {"port": "x"}, "envs": ENVS}, "dev").startswith("headway.lab.port: ")

    @pytest.mark.parametrize(
        ("envs", "message"),
        [
            (ENVS, "headway.envs: no env 'prd'; did you mean prod? (envs: dev, prod)"),
            ({"stage": {}}, "headway.envs: no env 'prd' (envs: stage)"),
            ({}, "headway.envs: no env 'prd' (envs: none yet: add it under headway.envs in fabric.yml)"),
        ],
    )
    def test_an_unknown_env_is_answered_with_the_known_ones(self, envs: Any, message: str) -> None:
        assert refusal_of({"envs": envs}, "prd") == message

    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            ("RELEASE_GRUOP", "g", ": no such setting; did you mean FABRIC_HEADWAY_RELEASE_GROUP?"),
            ("ZZZ", "g", ": no such setting"),
            ("LAB_PORT", "http", ": must be a whole number (got 'http')"),
            ("ENVS_DEV_LAB_PORT", "http", ": must be a whole number (got 'http')"),
            ("ENVS_QA_LAB_PORT", "1", ": no such setting"),
            ("RELEASE_KEEP_PREVIOUS", "maybe", ": must be true or false (got 'maybe')"),
            ("TEST_ENVIRONMENT", "A=b", ": must be a mapping (got 'A=b')"),
        ],
    )
    def test_a_variable_is_named_when_it_is_wrong(self, variable: str, value: str, message: str) -> None:
        said = refusal_of({"envs": ENVS}, "dev", **{f"FABRIC_HEADWAY_{variable}": value})
        assert said.startswith("FABRIC_HEADWAY_")
        assert said.endswith(message) or message in said

    def test_a_misspelt_key_is_named_before_the_one_it_leaves_missing(self) -> None:
        said = refusal_of({"package": {"service": {"comand": "/bin/true"}}})
        assert said == "headway.package.service.comand: no such setting; did you mean headway.package.service.command?"


class TestSecrets:
    """A setting says where a secret is kept; the secret itself is refused, and repeated nowhere."""

    @pytest.mark.parametrize(
        "url", ["postgres://u:canary@h/db", "canary", "ssm:", "env: ", "vault:canary", {"canary": 1}]
    )
    @pytest.mark.parametrize("env", [None, "dev"])
    def test_what_is_no_place_of_a_secret_is_refused_when_settings_are_read(self, url: Any, env: str | None) -> None:
        said = refusal_of({"envs": {"dev": {"database": {"url": url}}}}, env)
        assert said.startswith("headway.envs.dev.database.url: must be ")
        assert "canary" not in said

    def test_a_secret_in_a_variable_is_refused_by_its_name(self) -> None:
        said = refusal_of({}, None, FABRIC_HEADWAY_DATABASE_URL="postgres://u:canary@h/db")
        assert said.startswith("FABRIC_HEADWAY_DATABASE_URL: must be `ssm:NAME`, `env:VARIABLE` or `file:PATH`")
        assert "canary" not in said

    @pytest.mark.parametrize("url", ["ssm:/shop/prod/database-url", "env:DATABASE_URL", "file:~/.shop/url"])
    def test_the_place_of_a_secret_is_taken(self, url: str) -> None:
        read = read_settings({"database": {"url": url}})
        assert read.database is not None
        assert read.database.url == url


def row_of(setting: Setting) -> list[str]:
    """Return the cells of a setting's line in the README's table: name, type, default, meaning."""
    section = "headway" + "".join(f".{part}" for part in setting.path[:-1])
    readme = (ROOT / "README.md").read_text().partition(f"**`{section}`**")[2]
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{setting.path[-1]}` |"))
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def file_with(setting: Setting, value: str) -> Any:
    """Make what a fabric.yml would hold in which one setting has a value, beside what its section must have."""
    made: Any = {"mapping": {value: value}, "list": [value]}.get(setting.type, value)
    if setting.path[:-1] == ("test", "helpers", "NAME"):
        made = {"image": "redis:7", "probe": "true", setting.path[-1]: made}
    elif setting.path[:-1] == ("release", "groups", "NAME"):
        made = {"group": "shop-eu", setting.path[-1]: made}
    elif setting.path[:-1] == ("package", "service"):
        made = {"command": "/bin/true", setting.path[-1]: made}
    else:
        made = {setting.path[-1]: made}
    for key in reversed(setting.path[:-1]):
        made = {key: made}
    return made


class TestEverySetting:
    """The reference, the variables and the schema are one list."""

    @pytest.mark.parametrize("setting", EVERY, ids=lambda setting: ".".join(setting.path))
    def test_each_value_that_its_line_in_the_readme_shows_is_taken(self, setting: Setting) -> None:
        _, _, default, meaning = row_of(setting)
        shown = [*re.findall(r"`([^`]+)`", meaning), *([default.strip("`")] if default != "must be set" else [])]
        for value in filter(None, shown):
            read_settings(file_with(setting, value))

    @pytest.mark.parametrize("setting", EVERY, ids=lambda setting: ".".join(setting.path))
    def test_each_example_of_what_a_text_may_be_is_one(self, setting: Setting) -> None:
        field = _field_at(["x" if part == "NAME" else part for part in setting.path])
        assert field is not None
        patterned = any(getattr(each, "pattern", None) for each in field.metadata)
        assert bool(field.examples) == patterned
        for example in field.examples or ():
            read_settings(file_with(setting, example))

    @pytest.mark.parametrize("setting", EVERY, ids=lambda setting: ".".join(setting.path))
    def test_each_is_explained(self, setting: Setting) -> None:
        assert setting.meaning
        assert setting.about.endswith(".")

    def test_no_two_have_the_same_variable(self) -> None:
        variables = [variable_of(setting.path) for setting in EVERY]
        assert len(set(variables)) == len(variables)

    @pytest.mark.parametrize(
        "setting", [one for one in EVERY if "NAME" not in one.path], ids=lambda one: ".".join(one.path)
    )
    def test_each_can_be_given_by_a_variable(self, setting: Setting) -> None:
        found = given_by({variable_of(setting.path): "x"}, [one.path for one in EVERY], {})
        assert found == {setting.path: "x"}

    def test_the_goose_image_is_named_by_the_version_that_is_pinned(self) -> None:
        pins = (ROOT / "toolchain" / "goose" / "go.mod").read_text()
        pinned = re.search(r"github\.com/pressly/goose/v3 v(\S+)", pins)
        default = next(one.default for one in EVERY if one.path == ("database", "goose_image"))
        assert pinned
        assert default == f"headway/goose:{pinned[1]}"


@given(st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.integers()))
def test_nesting_loses_no_value(given_values: dict[tuple[str, ...], int]) -> None:
    tree = nested(given_values)
    assert {(above, key): value for above, inner in tree.items() for key, value in inner.items()} == given_values


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
        lambda inner: st.dictionaries(
            st.sampled_from([*Settings.model_fields, "envs", "dev", "group", "health", "x"]), inner, max_size=4
        ),
        max_leaves=12,
    ),
    st.sampled_from([None, "dev", "x"]),
)
def test_whatever_stands_in_the_file_is_read_or_refused(raw: Any, env: str | None) -> None:
    with contextlib.suppress(Refusal):
        read_settings(raw, env)


def test_a_long_value_is_cut_short_in_the_message() -> None:
    assert len(refusal_of({"build": list(range(1000))})) < 200
