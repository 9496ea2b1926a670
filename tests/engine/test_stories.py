"""The list of stories: what went wrong in other deploy systems, each told by at least one test.

The tests are in ``test_stories_*.py``, by what went wrong; each names its story in its docstring.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fabfile.engine.forecast import foresee
from fabfile.engine.operate import Order
from fabfile.plan.release import Act, Done, Ending, Kind, Wish

from .conftest import Operator
from .stories import at_each_step, standing

STORIES = {
    1: ["spinnaker/spinnaker#6973"],
    2: ["spinnaker/spinnaker#6367", "spinnaker/spinnaker#1506"],
    3: ["spinnaker/spinnaker#2645"],
    4: ["spinnaker/spinnaker#4812", "spinnaker/orca#3181", "spinnaker/orca#2756"],
    5: ["spinnaker/orca#1997", "spinnaker/orca#1290"],
    6: ["spinnaker/orca#3925"],
    7: ["spinnaker/spinnaker#4895"],
    8: ["spinnaker/spinnaker#2940"],
    9: ["spinnaker/spinnaker#4466", "spinnaker/deck#3053"],
    10: ["guardian/riff-raff#1342", "guardian/riff-raff#1345"],
    11: ["guardian/riff-raff#678"],
    12: ["guardian/riff-raff#471"],
    13: ["guardian/dotcom-rendering#6525"],
    14: ["ansible/ansible#35993", "ansible/ansible#36679", "ansible/ansible#28087"],
    15: ["ansible/ansible-modules-core#383"],
    16: ["hashicorp/terraform#8655", "hashicorp/terraform#2717"],
    17: ["terraform-aws-modules/terraform-aws-autoscaling#234"],
    18: ["hashicorp/terraform-provider-aws#34189", "hashicorp/terraform-provider-aws#29830"],
    19: [
        "CMSgov/beneficiary-fhir-data#2560",
        "coinbase/odin#52",
        "cloudposse/terraform-aws-ec2-autoscale-group#66",
    ],
    20: ["hashicorp/waypoint#765"],
    21: ["antiwork/gumroad#6292", "remind101/empire#904"],
    22: ["Netflix/asgard#594"],
    23: ["hashicorp/packer#9705", "hashicorp/packer#6536", "hashicorp/packer#8299"],
    24: ["wata727/packer-plugin-amazon-ami-management#30", "CloudSnorkel/cdk-github-runners#991"],
    25: ["awslabs/codedeploy-blue-green#2"],
}
REFERENCES = [reference for references in STORIES.values() for reference in references]
# What users of ten deploy systems asked for, and none of those has.
WISHES = range(1, 11)


def docstrings() -> list[str]:
    """Read the docstrings of all tests of stories."""
    found: list[str] = []
    for path in sorted(Path(__file__).parent.glob("test_stories*.py")):
        tree = ast.parse(path.read_text())
        tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        found += [ast.get_docstring(test) or "" for test in tests]
    return found


@pytest.mark.parametrize("reference", REFERENCES)
def test_each_story_is_told(reference: str) -> None:
    pattern = re.compile(rf"{re.escape(reference)}(?!\d)")
    assert any(pattern.search(text) for text in docstrings())


@pytest.mark.parametrize("number", WISHES)
def test_each_wish_is_shown(number: int) -> None:
    pattern = re.compile(rf"[Aa]sked for[^.:]*\b{number}\)")
    assert any(pattern.search(text) for text in docstrings())


@pytest.mark.parametrize(
    "wish", [{}, {"batch": 1}, {"canary": 1, "canary_s": 60, "soak_s": 30}], ids=["", "batch", "canary"]
)
def test_a_plan_says_beforehand_what_a_release_then_does(operator: Operator, wish: dict[str, float]) -> None:
    """Asked for, and found nowhere (9): a plan with the exact calls, the most instances, and how long it takes."""
    order = Order(Kind.RELEASE, "2.0.0", "ann", wish=Wish(**wish))  # type: ignore[arg-type]
    before, now = standing(operator), operator.cloud.clock.now
    plan = foresee(operator.settings, order, operator.world.image_ids["2.0.0"], now=now, ask=operator.cloud.ask)
    assert standing(operator) == before
    operator.cloud.calls.clear()
    most, calls, began_s = [0], operator.cloud.calls, operator.cloud.clock.elapsed_s
    at_each_step(operator, lambda: most.append(len(operator.cloud.hosts.machines)))
    assert operator.release("2.0.0", **wish).ending is Ending.DONE  # type: ignore[arg-type]
    assert isinstance(plan.ending, Done)
    planned = [type(step.what).__name__ for step in plan.steps if isinstance(step.what, Act)]
    assert planned == [each for each in operator.screen.acts if each != "BakeImage"]
    changing = re.compile(r"(?!s3:)\w+:(?!Describe|Get|Head|List)")
    assert [call for step in plan.steps for call in step.calls] == [each for each in calls if changing.match(each)]
    assert plan.peak == max(most)
    took_s = operator.cloud.clock.elapsed_s - began_s
    assert took_s / 4 < plan.seconds < took_s * 4
