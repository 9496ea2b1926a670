"""EC2 Fleets of type ``instant``: one request that launches what it can at once, and says what it could not.

Pages followed: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instant-fleet.html,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleet.html and, for the codes of what could not be
launched, https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.fleets import Fleets
from moto.ec2.utils import convert_tag_spec, random_fleet_id

from .instances import Instance, InstanceRules, once
from .mixed import ON_DEMAND, SPOT

if TYPE_CHECKING:
    from moto.ec2.models.launch_templates import LaunchTemplateVersion

STRATEGIES = {
    "OnDemandOptions": ("lowest-price", "prioritized"),
    "SpotOptions": (
        "lowest-price",
        "diversified",
        "capacity-optimized",
        "capacity-optimized-prioritized",
        "price-capacity-optimized",
    ),
}
LACKING = {ON_DEMAND: "InsufficientInstanceCapacity", SPOT: "UnfulfillableCapacity"}

_create_fleet = Fleets.create_fleet


@dataclass
class Pool:
    """One combination of template and override, what it has launched by terms, and why it launched no more."""

    specification: dict[str, Any]
    override: dict[str, Any]
    version: LaunchTemplateVersion
    launched: dict[str, list[Instance]] = field(default_factory=dict)
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return it as answers name it."""
        return {"LaunchTemplateSpecification": self.specification, "Overrides": self.override}


def create_fleet(self: Fleets) -> ActionResult:
    """Launch an instant fleet, once for each client token; leave other types to moto."""
    if self._get_param("Type") != "instant":
        return _create_fleet(self)

    def answer() -> dict[str, Any]:
        asked = {name: self._get_param(name, {}) for name in STRATEGIES}
        for name, strategies in STRATEGIES.items():
            strategy = asked[name].get("AllocationStrategy") or "lowest-price"
            if strategy not in strategies:
                raise EC2ClientError("InvalidParameterValue", f"Value ({strategy}) for {name} is not a strategy")
        rules = self.ec2_backend
        pools = list(_pools(rules, self._get_param("LaunchTemplateConfigs", [])))
        tags = convert_tag_spec(self._get_param("TagSpecifications", [])).get("instance", {})
        fleet_id = random_fleet_id()
        spreads = asked["SpotOptions"].get("AllocationStrategy") == "diversified"
        for terms, count in _counts(self._get_param("TargetCapacitySpecification", {})).items():
            _launch(rules, pools, terms, count, {**tags, "aws:ec2:fleet-id": fleet_id}, spreads=spreads)
        return {"FleetId": fleet_id, "Instances": list(_instances(pools)), "Errors": list(_errors(pools))}

    return once(self, "CreateFleet", answer)  # type: ignore[no-any-return]


def _pools(rules: InstanceRules, configs: list[dict[str, Any]]) -> Iterator[Pool]:
    """Make the pools, by priority where there is one."""
    pools = []
    for config in configs:
        given = {key: value for key, value in config["LaunchTemplateSpecification"].items() if value}
        version = rules.version_of(given)
        specification = {"LaunchTemplateId": version.template.id, "Version": str(version.number)}
        pools += [Pool(specification, override, version) for override in config.get("Overrides") or [{}]]
    yield from sorted(pools, key=lambda pool: float(pool.override.get("Priority") or 0.0))


def _counts(target: dict[str, Any]) -> dict[str, int]:
    """Say how many are launched on which terms; what is left of the total goes to the default ones."""
    counts = {
        ON_DEMAND: int(target.get("OnDemandTargetCapacity") or 0),
        SPOT: int(target.get("SpotTargetCapacity") or 0),
    }
    total = int(target.get("TotalTargetCapacity") or 0)
    left = total - sum(counts.values())
    if total <= 0 or left < 0:
        raise EC2ClientError(
            "InvalidTargetCapacitySpecification",
            f"The total target capacity ({total}) must be positive and no less than its parts ({counts})",
        )
    counts[target.get("DefaultTargetCapacityType") or ON_DEMAND] += left
    return counts


def _launch(
    rules: InstanceRules, pools: list[Pool], terms: str, count: int, tags: dict[str, str], *, spreads: bool
) -> None:
    """Launch one by one, in the first pool that has capacity; a fleet of one strategy fills one pool, so one zone."""
    for number in range(count):
        turn = number % len(pools) if spreads and terms == SPOT else 0
        for pool in [*pools[turn:], *pools[:turn]]:
            try:
                pool.launched.setdefault(terms, []).append(_run(rules, pool, terms, tags))
            except EC2ClientError as refused:
                pool.errors[terms] = (refused.code, refused.message)
                continue
            break


def _run(rules: InstanceRules, pool: Pool, terms: str, tags: dict[str, str]) -> Instance:
    data, override = pool.version.data, pool.override
    of_template = convert_tag_spec(data.get("TagSpecifications", [])).get("instance", {})
    reservation = rules.run_instances(
        pool.version.image_id,
        1,
        None,
        [],
        instance_type=override.get("InstanceType") or data.get("InstanceType") or "m5.large",
        is_instance_type_default=False,
        tags={"instance": {**of_template, **tags}},
        placement=override.get("AvailabilityZone"),
        subnet_id=override.get("SubnetId"),
        launch_template=dict(pool.specification),
        instance_market_options={"MarketType": SPOT} if terms == SPOT else None,
        region_name=rules.region_name,
    )
    instance = reservation.instances[0]
    assert isinstance(instance, Instance)  # noqa: S101 - the class is swapped together with these rules
    instance.close_to(override.get("Placement", {}))
    return instance


def _instances(pools: list[Pool]) -> Iterator[dict[str, Any]]:
    for pool in pools:
        for terms, instances in pool.launched.items():
            if instances:
                yield {
                    "LaunchTemplateAndOverrides": pool.shown(),
                    "Lifecycle": terms,
                    "InstanceIds": [instance.id for instance in instances],
                    "InstanceType": instances[0].instance_type,
                }


def _errors(pools: list[Pool]) -> Iterator[dict[str, Any]]:
    for pool in pools:
        for terms, (code, message) in pool.errors.items():
            yield {
                "LaunchTemplateAndOverrides": pool.shown(),
                "Lifecycle": terms,
                "ErrorCode": LACKING[terms] if code == LACKING[ON_DEMAND] else code,
                "ErrorMessage": message,
            }
