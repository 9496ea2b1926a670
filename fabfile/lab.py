"""The local cloud: AWS on a laptop, with real instances and load balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context

from .plan.outcome import Refusal
from .stage import settings_for, stage

if TYPE_CHECKING:
    from subprocess import Popen

    from .localcloud.dockerd import Dockerd
    from .localcloud.overview import EnvLines
    from .localcloud.place import Place
    from .plan.settings import Database, Settings


@stage
def up(c: Context) -> None:
    """Start the local cloud and set up every env whose endpoint it is; again: complete what is missing."""
    from .localcloud import databases, life, overview, provision
    from .localcloud.dockerd import Dockerd
    from .localcloud.place import place_for

    envs = _envs_of_lab(c)
    place, docker = place_for(envs), Dockerd()
    images = {each.group: each.database.image for each in envs if each.database and _is_made_here(each.database)}
    with life.only_one(place.port):
        process = _ensure_process(place, docker, sorted(set(images.values())))
        made = {
            group: databases.start_database(docker, place, group, image, number)
            for number, (group, image) in enumerate(images.items())
        }
        if process is not None:
            life.wait_until_up(place, process)
        databases.wait_for(list(made.values()))
        for each in envs:
            provision.provision(each, made[each.group].url if each.group in made else None)
    print(f"lab: {'started' if process else 'runs'} at {place.endpoint} (log: {place.folder}/log)")
    print(f"lab: its instances see it at http://{place.gateway}:{place.port}; buckets are the first part of the path")
    for each in envs:
        _print_env(overview.look(each))


@stage
def down(c: Context) -> None:
    """Remove the local cloud: process, haproxy, instances, databases, images, network, state."""
    from .localcloud import life
    from .localcloud.dockerd import Dockerd

    port, docker = settings_for(c).lab.port, Dockerd()
    reason = docker.why_no_answer()
    if reason is not None:
        raise Refusal(reason)
    with life.only_one(port):
        removed = life.remove(port, docker)
    print(f"lab: removed {', '.join(removed)}" if removed else f"lab: nothing to remove at port {port}")


@stage
def status(c: Context) -> None:
    """Show the local cloud: its process, each env's group, instances and load balancers."""
    from .localcloud import life, overview
    from .localcloud.place import folder_of

    envs = _envs_of_lab(c)
    port = envs[0].lab.port
    pid = life.pid_of(port)
    if pid is None:
        left = ", but an earlier one left things behind: fab lab.down" if folder_of(port).exists() else ": fab lab.up"
        print(f"lab: not running at port {port}{left}")
        return
    print(f"lab: process {pid} at {envs[0].endpoint} (log: {folder_of(port)}/log)")
    seen = [overview.look(each) for each in envs]
    for lines in seen:
        _print_env(lines)
    others = overview.other_instances(envs[0], {each.instance_id for lines in seen for each in lines.instances})
    if others:
        print(f"in no group: {', '.join(others)}")


def _ensure_process(place: Place, docker: Dockerd, images: list[str]) -> Popen[bytes] | None:
    """Start the lab's process where it does not run; None where it does.

    :raises Refusal: it runs as another one, or cannot run here.
    """
    from .localcloud import life
    from .localcloud.place import saved_place
    from .tools.aws import note_write

    saved = saved_place(place.port)
    if life.pid_of(place.port) is not None and saved is not None:
        if other := saved.differences(place):
            raise Refusal(f"the lab at port {place.port} runs with {', '.join(other)}: fab lab.down first")
        return None
    if reason := life.why_not_here(docker):
        raise Refusal(reason)
    if life.remove(place.port, docker):
        print("lab: removed what an earlier one, which did not end properly, left behind")
    if reason := life.why_not_up(place, docker, [place.base_image, *images]):
        raise Refusal(reason)
    note_write()  # from here on something is there that was not
    return life.start(place, docker)


def _envs_of_lab(c: Context) -> list[Settings]:
    """Read the settings of each env that lives in the lab.

    :raises Refusal: there is none.
    """
    base = settings_for(c)
    names = sorted(c.config.get("headway", {}).get("envs", {}) or {})
    envs = [settings_for(c, name) for name in names]
    endpoint = f"http://127.0.0.1:{base.lab.port}"
    ours = [each for each in envs if each.endpoint in {endpoint, endpoint.replace("127.0.0.1", "localhost")}]
    if not ours:
        raise Refusal(f"no env lives in the local cloud: set endpoint: {endpoint} under headway.envs.NAME")
    for each in ours:
        if each.region != ours[0].region or each.lab != ours[0].lab:
            raise Refusal(f"headway.envs.{each.env}: region and lab must be the same for all envs of one local cloud")
    return ours


def _is_made_here(database: Database) -> bool:
    """Tell whether the lab is to run this database: its URL is kept where the lab can put it."""
    return (database.url or "").startswith("ssm:")


def _print_env(lines: EnvLines) -> None:
    if not lines.exists:
        print(f"{lines.env}: not set up: fab lab.up")
        return
    print(f"{lines.env}: group {lines.group}, {lines.desired} of at most {lines.maximum} instances")
    for each in lines.instances:
        print(f"  {each.instance_id}  {each.address}  {each.zone}  {each.image_id}  {each.state}")
    for balancer in lines.balancers:
        health = ", ".join(f"{instance_id} {said}" for instance_id, said in balancer.health) or "no instance"
        print(f"  {balancer.kind:11}  {balancer.url}  {health}")


ns = Collection("lab", up, down, status)
