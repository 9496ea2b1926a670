"""The releases that are killed, and met with errors, at every call that they make."""

from __future__ import annotations

from collections.abc import Sequence

from fabfile.plan.release import Ending, Kind, Wish

from .stage import FLEET, REST_S, Command, Scenario, Stage
from .stories import alarm

ALARM = "shop-errors"


def _keep_previous(stage: Stage) -> None:
    stage.type(Command("2.0.0"))
    stage.cloud.clock.sleep(REST_S)


def _never_healthy(stage: Stage) -> None:
    stage.image("3.0.0", healthy_s=None)


def _turns_sick(stage: Stage) -> None:
    stage.image("4.0.0")

    def sicken() -> None:
        stage.sick = {next(each for each, version, *_ in stage.see(stage.world).fleet if version == "4.0.0")}
        stage.cloud.hosts.script(*stage.sick, sick_s=0)

    stage.when(lambda: len(stage.world.members("Standby")) == FLEET, sicken)


def _alarm(stage: Stage) -> None:
    alarm(stage.cloud, ALARM, "OK", "no errors")
    stage.when(
        lambda: len(stage.world.members("Standby")) == FLEET, lambda: alarm(stage.cloud, ALARM, "ALARM", "5 errors")
    )


def _scale_out(stage: Stage) -> None:
    def grow() -> None:
        stage.more = 1
        stage.cloud.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=stage.world.group, DesiredCapacity=stage.world.describe_group()["DesiredCapacity"] + 1
        )

    stage.when(lambda: len(stage.world.members(None)) > FLEET, grow)


def _mix(stage: Stage) -> None:
    specification = {"LaunchTemplateId": stage.world.template_id, "Version": "1"}
    stage.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=stage.world.group,
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": specification,
                "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m4.large"}],
            },
            "InstancesDistribution": {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 50},
        },
    )


def _end_hook(stage: Stage) -> None:
    stage.cloud.client("autoscaling").put_lifecycle_hook(
        AutoScalingGroupName=stage.world.group,
        LifecycleHookName="farewell",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=30,
        DefaultResult="CONTINUE",
    )


def _soaking(seconds: float, version: str = "2.0.0") -> tuple[Command, ...]:
    return (Command(version, wish=Wish(soak_s=seconds)),)


KEPT: dict[str, object] = {"keep_previous": True}
RESTORED = Ending.RESTORED
BACK = (Command("1.0.0", Kind.ROLLBACK),)
# Every group has a target group and a classic load balancer.
MAIN: Sequence[Scenario] = (
    Scenario("plain"),
    Scenario("canary and soak", (Command("2.0.0", wish=Wish(canary=1, canary_s=10, soak_s=10)),)),
    Scenario("never healthy", (Command("3.0.0"),), RESTORED, "1.0.0", _never_healthy),
    Scenario("rollback to a warm fleet", BACK, serves="1.0.0", prepare=_keep_previous, release=KEPT, kept=FLEET),
)
OTHERS: Sequence[Scenario] = (
    Scenario("canary", (Command("2.0.0", wish=Wish(canary=1, canary_s=30)),)),
    Scenario("soak", _soaking(30)),
    Scenario("batches", (Command("2.0.0", wish=Wish(batch=1)),)),
    Scenario("timed", (Command("2.0.0", at_s=180),)),
    Scenario("staged", (Command("2.0.0", wish=Wish(stage=True)), Command("2.0.0"))),
    Scenario("keep the old fleet", release=KEPT, kept=FLEET),
    Scenario("rollback to a version without a fleet", BACK, serves="1.0.0", prepare=_keep_previous),
    Scenario("sick in the soak", _soaking(60, "4.0.0"), RESTORED, "1.0.0", _turns_sick, fewest=2),
    Scenario("alarm in the soak", _soaking(60), RESTORED, "1.0.0", _alarm, {"alarms": [ALARM]}),
    Scenario("scale-out in the middle", prepare=_scale_out),
    Scenario("mixed instances", prepare=_mix),
    Scenario("a hook for the old ones", prepare=_end_hook),
    Scenario("two groups", groups=2),
    Scenario("two groups at once", groups=2, release={"together": True}),
)
SCENARIOS = {each.name: each for each in (*MAIN, *OTHERS)}
