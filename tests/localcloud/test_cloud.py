"""The corrected cloud itself: its server, its ticks, and how it takes moto's place and gives it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
import moto.autoscaling.models
import moto.ec2.models
import pytest
from moto import mock_aws
from werkzeug.serving import WSGIRequestHandler, make_server

from fabfile.localcloud.clock import VirtualClock
from fabfile.localcloud.cloud import Cloud
from fabfile.localcloud.models import Behaviour, ModelBalancers, ModelHosts
from fabfile.localcloud.simulated import SimulatedCloud, simulated_cloud
from fabfile.localcloud.world import provision_world

BASE = "ami-0000000000000ba5e"


class Quiet(WSGIRequestHandler):
    """A server that does not report each request."""

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(cloud: Cloud) -> Iterator[Any]:
    """Serve a cloud on a free port; yields what makes clients for it."""
    with cloud.installed():
        server = make_server("127.0.0.1", 0, cloud.app(), threaded=True, request_handler=Quiet)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def client(service: Any) -> Any:
            return boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=f"http://127.0.0.1:{server.server_port}",
                aws_access_key_id="local",
                aws_secret_access_key="local",
            )

        try:
            yield client
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class SlowHosts(ModelHosts):
    """Machines whose images are saved when ``saved`` says so."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.saving = threading.Event()
        self.saved = threading.Event()

    def save_image(self, instance_id: str, image_id: str) -> None:
        self.saving.set()
        assert self.saved.wait(60)
        super().save_image(instance_id, image_id)


def make_cloud(hosts_class: type[ModelHosts] = ModelHosts) -> tuple[Cloud, Any, VirtualClock]:
    clock = VirtualClock()
    hosts = hosts_class(clock)
    hosts.images[BASE] = Behaviour(boot_s=2)
    cloud = Cloud(hosts, ModelBalancers(clock, hosts), clock)
    clock.on_step = cloud.tick
    return cloud, hosts, clock


def start_builder(ec2: Any, clock: VirtualClock) -> str:
    answer = ec2.run_instances(ImageId=BASE, InstanceType="t3.small", MinCount=1, MaxCount=1)
    instance_id = str(answer["Instances"][0]["InstanceId"])
    clock.sleep(10)
    ec2.stop_instances(InstanceIds=[instance_id])
    clock.sleep(10)
    return instance_id


def test_the_api_answers_and_time_goes_on_while_an_image_is_saved() -> None:
    cloud, hosts, clock = make_cloud(SlowHosts)
    with served(cloud) as client:
        cloud.add_image(BASE, "base")
        ec2 = client("ec2")
        builder = start_builder(ec2, clock)
        image_id = ec2.create_image(InstanceId=builder, Name="shop")["ImageId"]
        clock.sleep(1)
        assert hosts.saving.wait(60)
        clock.sleep(5)
        assert ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "pending"
        hosts.saved.set()
        states = set()
        for _ in range(10_000):
            clock.sleep(1)
            states.add(ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"])
            if "available" in states:
                break
        assert "available" in states


def test_of_two_conditional_writes_at_once_one_wins() -> None:
    cloud, _, _ = make_cloud()
    with served(cloud) as client:
        s3 = client("s3")
        s3.create_bucket(Bucket="state")

        def write(owner: int) -> bool:
            try:
                s3.put_object(Bucket="state", Key="lock", Body=str(owner).encode(), IfNoneMatch="*")
            except s3.exceptions.ClientError as error:
                return bool(error.response["Error"]["Code"] != "PreconditionFailed")
            return True

        with ThreadPoolExecutor(8) as workers:
            assert sum(workers.map(write, range(24))) == 1


def test_requests_and_ticks_take_turns() -> None:
    cloud, _, clock = make_cloud()
    with served(cloud) as client:
        cloud.add_image(BASE, "base")
        ec2 = client("ec2")
        ended = threading.Event()

        def tick() -> None:
            while not ended.is_set():
                clock.sleep(1)

        ticker = threading.Thread(target=tick)
        ticker.start()
        try:
            with ThreadPoolExecutor(4) as workers:
                runs = [
                    workers.submit(ec2.run_instances, ImageId=BASE, InstanceType="t3.small", MinCount=1, MaxCount=1)
                    for _ in range(40)
                ]
                ids = {run.result()["Instances"][0]["InstanceId"] for run in runs}
        finally:
            ended.set()
            ticker.join()
        clock.sleep(10)
        found = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
        assert {each["InstanceId"] for r in found["Reservations"] for each in r["Instances"]} == ids
        addresses = {each["PrivateIpAddress"] for r in found["Reservations"] for each in r["Instances"]}
        assert len(addresses) == 40


class StubbornHosts(ModelHosts):
    """Machines that have to be told twice to terminate."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.refusals = 1

    def terminate(self, instance_id: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("the daemon is busy")
        super().terminate(instance_id)


def test_what_a_host_refuses_is_reported_and_tried_again() -> None:
    cloud, _, clock = make_cloud(StubbornHosts)
    with served(cloud) as client:
        cloud.add_image(BASE, "base")
        ec2 = client("ec2")
        instance_id = start_builder(ec2, clock)
        ec2.terminate_instances(InstanceIds=[instance_id])
        with pytest.raises(RuntimeError, match="the daemon is busy"):
            clock.sleep(1)
        clock.sleep(10)
        (reservation,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        assert reservation["Instances"][0]["State"]["Name"] == "terminated"


def test_moto_is_itself_again_afterwards() -> None:
    with simulated_cloud() as cloud:
        provision_world(cloud, capacity=1)
        assert moto.ec2.models.ec2_backends.backend is not moto.ec2.models.EC2Backend
    assert moto.ec2.models.ec2_backends.backend is moto.ec2.models.EC2Backend
    assert moto.autoscaling.models.FakeAutoScalingGroup.__module__ == "moto.autoscaling.models"
    with mock_aws():
        ec2 = boto3.client("ec2", region_name="us-east-1")
        image_id = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        answer = ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)
        (reservation,) = ec2.describe_instances()["Reservations"]
        assert reservation["Instances"][0]["InstanceId"] == answer["Instances"][0]["InstanceId"]
        assert reservation["Instances"][0]["State"]["Name"] == "running"


def story(seed: int) -> list[Any]:
    """Tell what happens in a world with chance in it."""
    with simulated_cloud(seed=seed) as cloud:
        world = provision_world(cloud, capacity=3)
        throttle_half(cloud)
        told: list[Any] = []
        for _ in range(20):
            cloud.clock.sleep(1)
            answer = cloud.client("autoscaling").describe_auto_scaling_groups()
            told.append((cloud.clock.elapsed_s, answer["ResponseMetadata"]["RetryAttempts"], world.members()))
        return told


def throttle_half(cloud: SimulatedCloud) -> None:
    from fabfile.localcloud.faults import Fault

    cloud.faults.throttle("DescribeAutoScalingGroups", Fault(odds=0.2))


def test_the_same_seed_tells_the_same_story_up_to_botos_own_jitter() -> None:
    first, second, other = story(7), story(7), story(8)
    assert [retries for _, retries, _ in first] == [retries for _, retries, _ in second]
    assert [members for *_, members in first] == [members for *_, members in second]
    assert [members for *_, members in first] != [members for *_, members in other]


def test_what_s3_dates_it_dates_in_virtual_time() -> None:
    with simulated_cloud() as cloud:
        cloud.clock.sleep(3600)
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="state")
        s3.put_object(Bucket="state", Key="lock", Body=b"mine")
        head = s3.head_object(Bucket="state", Key="lock")
        assert abs((head["LastModified"] - cloud.clock.now()).total_seconds()) <= 1


def test_until_gives_up_after_its_time() -> None:
    with simulated_cloud() as cloud, pytest.raises(TimeoutError, match="not within 5 virtual seconds"):
        cloud.until(lambda: False, within_s=5)
