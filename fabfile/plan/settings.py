"""Every setting of Headway: its name, type, default and meaning, in one place.

The reference in README.md is generated from these classes, and so are the answers to a wrong one (`plan/reading.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9][a-z0-9+.-]+$"  # Debian policy 5.6.7: package names


def _split_commas(value: object) -> object:
    """Let FABRIC_HEADWAY_… give a list as ``a,b``."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]


class Section(BaseModel):
    """A group of settings: frozen, and deaf to no typing error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(Section):
    """How the artefacts are made, in a container."""

    image: str | None = Field(None, description="Image to build in; without one it is made from `dockerfile`")
    dockerfile: str = Field("Dockerfile", description="Dockerfile of the production-like image, in the repository")
    command: str = Field("make", description="Shell command that builds, run in a clean export of the commit")
    output: str = Field(
        "dist", description="Folder that the command leaves the artefacts in; copied out of the container"
    )


class Helper(Section):
    """A container that the tests need beside them."""

    image: str = Field(description="Image, best by digest")
    environment: dict[str, str] = Field({}, description="Environment of the helper")
    command: Words = Field((), description="Arguments for the image's entry point")
    probe: str = Field(description="Shell command run inside the helper until it answers 0: it is ready then")
    ready_within_s: float = Field(60, gt=0, description="Seconds to become ready")
    tmpfs: Words = Field((), description="Folders kept in memory, such as its data")


class Test(Section):
    """How the project's own tests run, in a container."""

    command: str = Field("pytest", description="Shell command that tests")
    environment: dict[str, str] = Field(
        {}, description="Environment of the tests; `{postgres}` is the helper's host name"
    )
    helpers: dict[str, Helper] = Field({}, description="Helper containers by host name, beside the database")
    database_variable: str = Field("DATABASE_URL", description="Variable that tells the tests their database's URL")


class Database(Section):
    """The PostgreSQL database and its Goose migrations; leave the section out when there is none."""

    migrations: str = Field("migrations", description="Folder of Goose migrations")
    image: str = Field("postgres:15", description="PostgreSQL image for tests: production's major version")
    url: str | None = Field(
        None,
        repr=False,  # somebody may write the secret itself here: no message shows it
        description="Where the env's connection string is kept: `ssm:NAME`, `env:VARIABLE` or `file:PATH`; never the string itself",
    )
    goose_image: str = Field("headway/goose:3.29.0", description="Image with Goose, for tests inside Docker")
    lock_timeout_s: float = Field(
        2, gt=0, description="Seconds a migration may wait for a lock before it is tried again"
    )
    statement_timeout_s: float = Field(30, gt=0, description="Seconds one statement of a migration may take")
    attempts: int = Field(5, ge=1, description="Tries of a migration that ran into the lock timeout")


class Service(Section):
    """The systemd unit of the project."""

    command: str = Field(description="ExecStart: absolute path and arguments")
    user: str | None = Field(None, description="System user it runs as; default: `headway.name`")
    environment_file: str | None = Field(
        None, description="File with VARIABLE=value lines; default: /etc/NAME/environment"
    )
    open_files: int = Field(65536, description="LimitNOFILE")
    stop_timeout_s: int = Field(30, description="Seconds to finish requests after SIGTERM")


class Package(Section):
    """The .deb package."""

    maintainer: str = Field("Nobody <nobody@example.com>", description="Name <address>")
    description: str = Field("A service released with Headway", description="One line")
    depends: Words = Field((), description="Debian packages that it needs")
    architecture: str = Field("all", description="`all`, `amd64`, `arm64` ...")
    files: dict[str, str] = Field(
        {}, description="From a path below the build's output to an absolute path on the instance"
    )
    conffiles: Words = Field(
        (), description="Absolute paths that hold configuration: kept on upgrade when changed by hand"
    )
    service: Service | None = Field(None, description="The systemd unit; leave out for a package without one")


class Apt(Section):
    """Our own Apt repository."""

    publish: str | None = Field(None, description="Where it is written: `s3://bucket/prefix` or a folder")
    url: str | None = Field(None, description="Where clients read it: an http(s) or file URL")
    suite: str = Field("stable", description="Suite")
    component: str = Field("main", description="Component")
    key: str | None = Field(None, description="Fingerprint or address of the signing key in gpg's keyring")
    gnupg_home: str | None = Field(None, description="gpg's home with that key; default: gpg's own")


class Bake(Section):
    """How an AMI is made."""

    source_name: str = Field(
        "ubuntu/images/hvm-ssd*/ubuntu-*-24.04-amd64-server-*",
        description="Name filter of the base AMI; the newest is taken",
    )
    source_owners: Words = Field(("099720109477",), description="Accounts whose base AMIs are trusted (Canonical's)")
    instance_type: str = Field("t3.small", description="Type of the builder instance")
    ssh_user: str = Field("ubuntu", description="User that Packer logs in as")
    instance_profile: str | None = Field(
        None, description="Instance profile of the builder; `session_manager` needs one that lets SSM in"
    )
    subnet: str | None = Field(
        None, description="Subnet id of the builder; default: the first of the env's group, else the default VPC's"
    )
    interface: Literal["public_ip", "private_ip", "session_manager"] = Field(
        "private_ip", description="How Packer reaches the builder"
    )
    source_cidrs: Words = Field(
        (), description="Networks that may reach the builder's SSH; default: only this machine's own address"
    )
    roles: Words = Field((), description="The project's own roles (folders), run after ours")
    variables: dict[str, Any] = Field({}, description="Ansible variables: settings of the roles")
    files: dict[str, str] = Field(
        {}, description="Configuration files: template in the repository to absolute path on the instance"
    )


class Health(Section):
    """The application's own health check, asked of each new instance before it gets traffic."""

    path: str = Field(
        "/health", pattern=r"^/", examples=["/health"], description="Path that answers 200 when the instance can serve"
    )
    port: int = Field(8080, ge=1, le=65535, description="Port on the instance")
    timeout_s: float = Field(2, gt=0, description="Seconds for one answer")
    via: Literal["http", "balancer"] = Field(
        "http",
        description="`http`: asked from here; `balancer`: where instances cannot be reached, the load balancer's word is taken",
    )


class Evidence(Section):
    """What is read of instances that failed, before they go: their console, and over SSH their unit's journal."""

    ssh_user: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$",
        examples=["admin"],
        description="User to log in as; without one nobody logs in",
    )
    ssh_key: str | None = Field(None, description="File of the private key; default: what ssh-agent and ~/.ssh hold")
    unit: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$",
        examples=["shop.service"],
        description="systemd unit to read of; default: NAME.service",
    )
    lines: int = Field(20, ge=1, le=200, description="Last lines that are shown of a console or a journal")


class Place(Section):
    """One of the groups of an env."""

    group: str = Field(description="Auto Scaling group")
    region: str | None = Field(None, description="AWS region; default: `headway.region`")


class Release(Section):
    """How a fleet is changed."""

    group: str | None = Field(None, description="Auto Scaling group; default: NAME-ENV")
    state: str | None = Field(
        None,
        pattern=r"^s3://[A-Za-z0-9._-]{3,63}(/|$)",
        examples=["s3://my-bucket/shop"],
        description="Where lock, record and history live: `s3://bucket/prefix`",
    )
    health: Health = Field(Health(), description="Health before traffic")
    confirmations: int = Field(2, ge=1, description="Reads in a row that must agree before a fact is believed")
    poll_s: float = Field(5, gt=0, description="Seconds between two looks at the fleet")
    warm_within_s: float = Field(600, gt=0, description="Seconds for new instances to run and answer")
    healthy_within_s: float = Field(300, gt=0, description="Seconds to turn healthy in every load balancer")
    drain_within_s: float = Field(600, gt=0, description="Seconds for old instances to leave every load balancer")
    soak_s: float = Field(0, ge=0, description="Seconds to watch the new fleet with the old one still warm")
    keep_previous: bool = Field(
        False, description="Keep the old fleet in Standby until the next release: rollback in seconds"
    )
    lock_ttl_s: float = Field(60, gt=0, description="Seconds without a heartbeat after which a lock is up for takeover")
    batch: int | None = Field(None, ge=1, description="Replace so many instances at a time; default: all at once")
    canary: int = Field(0, ge=0, description="Serve with so many new instances first")
    canary_s: float = Field(0, ge=0, description="Seconds to watch them before the others follow")
    alarms: Words = Field((), description="CloudWatch alarms that restore the old fleet when they sound")
    freeze: Words = Field(
        (),
        description="When nothing is released, each with its time zone: `Fri 16:00 - Mon 08:00 Europe/Berlin: weekend`, `2026-12-20 - 2027-01-02 Europe/Berlin`",
    )
    supersede: bool = Field(False, description="Let a newer release in line take the place of an older one that waits")
    launch_hooks: Literal["refuse", "skip"] = Field(
        "refuse",
        description="Instances that a release attaches do not run the group's hooks for launching ones: refuse such a group, or do without",
    )
    groups: dict[str, Place] = Field(
        {}, description="Several groups of one env, released as one: all are put back if one fails"
    )
    evidence: Evidence = Field(Evidence(), description="What is read of instances that failed")
    together: bool = Field(False, description="Cut all groups over at once; default: one after another")


class Lab(Section):
    """The local cloud."""

    port: int = Field(4750, ge=1, le=65535, description="Port of its API on this machine")
    network: str = Field("10.99.0.0/16", description="Network of its VPC: two zones, instances and databases")
    base_image: str = Field("headway/instance:12", description="Docker image that its base AMI is")
    capacity: int = Field(2, ge=0, description="Instances of each group at the start")
    boot_s: float = Field(0, ge=0, description="Seconds added to each boot, to see a slower cloud")


class Settings(Section):
    """All settings of one env (or of none, where a task needs none)."""

    name: str = Field(
        "app",
        pattern=NAME_PATTERN,
        examples=["shop"],
        description="Name of the project, its package, unit and user: two or more of small letters, digits, + - and .",
    )
    env: str | None = Field(None, description="Set by --env, not by hand")
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]+$", examples=["eu-west-1"], description="AWS region")
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+",
        examples=["http://127.0.0.1:4750"],
        description="URL of another AWS API, such as the local cloud's; leave out for AWS",
    )
    build: Build = Field(Build(), description="")
    test: Test = Field(Test(), description="")
    database: Database | None = Field(None, description="")
    package: Package = Field(Package(), description="")
    apt: Apt = Field(Apt(), description="")
    bake: Bake = Field(Bake(), description="")
    release: Release = Field(Release(), description="")
    lab: Lab = Field(Lab(), description="")

    @property
    def group(self) -> str:
        """Name of the env's Auto Scaling group."""
        return self.release.group or f"{self.name}-{self.env}"


@dataclass(frozen=True)
class Setting:
    """One line of the reference. A name in a path that people choose themselves is written NAME."""

    path: tuple[str, ...]
    about: str  # its section, in one line
    type: str
    default: str
    meaning: str


def describe_settings() -> Iterator[Setting]:
    """Yield every setting that a person can set, in the order of the classes."""
    yield from _describe(Settings, ())


def _describe(section: type[BaseModel], above: tuple[str, ...]) -> Iterator[Setting]:
    inner: list[tuple[type[BaseModel], tuple[str, ...]]] = []
    about = (section.__doc__ or "").splitlines()[0]
    for key, field in section.model_fields.items():
        path = (*above, key)
        one, several = section_of(field.annotation), section_of(value_of_mapping(field.annotation))
        if one is not None:
            inner.append((one, path))
        elif several is not None:
            inner.append((several, (*path, "NAME")))
        elif path != ("env",):
            default = "must be set" if field.is_required() else _shown(field.default)
            yield Setting(path, about, type_name(field.annotation), default, field.description or "")
    for part, path in inner:
        yield from _describe(part, path)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class in ``Section`` or ``Section | None``, else None."""
    if get_origin(annotation) not in {None, UnionType, Union}:
        return None
    for choice in get_args(annotation) or (annotation,):
        if isinstance(choice, type) and issubclass(choice, Section):
            return choice
    return None


def value_of_mapping(annotation: Any) -> Any:
    """Return ``V`` of ``dict[str, V]``, else None."""
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def type_name(annotation: Any) -> str:
    """Say what a setting holds, in a word that a YAML author knows."""
    origin = get_origin(annotation)
    if origin in {UnionType, Union}:
        return type_name(next(choice for choice in get_args(annotation) if choice is not type(None)))
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "mapping", tuple: "list"}
    return plain.get(origin or annotation, str(annotation))


def _shown(default: Any) -> str:
    if default is None or default in ({}, ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return ", ".join(default) if isinstance(default, tuple) else str(default)
