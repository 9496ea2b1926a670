"""What the lab is given of a team's account: names and user data."""

from __future__ import annotations

import pytest
import yaml

from fabfile.localcloud.provision import balancer_name, user_data
from fabfile.plan.settings import Settings


def settings(**values: object) -> Settings:
    return Settings.model_validate({"name": "shop", "env": "prod", **values})


def test_user_data_is_a_cloud_config_that_writes_the_units_variables() -> None:
    text = user_data(settings(), "postgresql://u:p%23@10.0.0.1/shop")
    assert text.startswith("#cloud-config\n")
    (file,) = yaml.safe_load(text)["write_files"]
    assert file["path"] == "/etc/shop/environment"
    assert file["content"] == "DATABASE_URL=postgresql://u:p%23@10.0.0.1/shop\n"
    assert file["permissions"] == "0640"


def test_user_data_follows_the_units_own_file_and_the_databases_variable() -> None:
    own = settings(
        package={"service": {"command": "/usr/bin/shop", "environment_file": "/etc/default/shop"}},
        test={"database_variable": "PGURL"},
    )
    (file,) = yaml.safe_load(user_data(own, "postgresql://x"))["write_files"]
    assert (file["path"], file["content"]) == ("/etc/default/shop", "PGURL=postgresql://x\n")


def test_without_a_database_the_file_is_there_and_empty() -> None:
    (file,) = yaml.safe_load(user_data(settings(), None))["write_files"]
    assert file["content"] == ""


@pytest.mark.parametrize(
    ("group", "suffix", "name"),
    [
        ("shop-prod", "", "shop-prod"),
        ("lib.shop+x-prod", "", "lib-shop-x-prod"),
        ("a-very-long-name-of-a-service-indeed-prod", "-classic", "a-very-long-name-of-a-se-classic"),
    ],
)
def test_a_load_balancers_name_has_the_letters_and_length_that_elb_allows(group: str, suffix: str, name: str) -> None:
    assert balancer_name(group, suffix) == name
    assert len(name) <= 32
