"""A simulated cloud for each test of it, with the clients that several of them ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fabfile.localcloud.simulated import SimulatedCloud, simulated_cloud


@pytest.fixture
def cloud() -> Iterator[SimulatedCloud]:
    with simulated_cloud() as simulated:
        yield simulated


@pytest.fixture
def autoscaling(cloud: SimulatedCloud) -> Any:
    return cloud.client("autoscaling")
