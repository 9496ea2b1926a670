"""Every setting's name, unset: Fabric maps FABRIC_HEADWAY_… only to keys that it knows.

Kept apart from `plan.settings`, so that `fab --list` need not import pydantic; a test holds the two together.
"""

from typing import Any

SKELETON: dict[str, Any] = {
    "name": None,
    "region": None,
    "endpoint": None,
    "build": {"image": None, "dockerfile": None, "command": None, "output": None},
    "test": {"command": None, "environment": {}, "helpers": {}, "database_variable": None},
    "database": {
        "migrations": None,
        "image": None,
        "url": None,
        "goose_image": None,
        "lock_timeout_s": None,
        "statement_timeout_s": None,
        "attempts": None,
    },
    "package": {
        "maintainer": None,
        "description": None,
        "depends": None,
        "architecture": None,
        "files": {},
        "conffiles": None,
        "service": {
            "command": None,
            "user": None,
            "environment_file": None,
            "open_files": None,
            "stop_timeout_s": None,
        },
    },
    "apt": {"publish": None, "url": None, "suite": None, "component": None, "key": None, "gnupg_home": None},
    "bake": {
        "source_name": None,
        "source_owners": None,
        "instance_type": None,
        "ssh_user": None,
        "subnet": None,
        "interface": None,
        "source_cidrs": None,
        "roles": None,
        "variables": {},
        "files": {},
    },
    "release": {
        "group": None,
        "state": None,
        "health": {"path": None, "port": None, "timeout_s": None, "via": None},
        "confirmations": None,
        "poll_s": None,
        "warm_within_s": None,
        "healthy_within_s": None,
        "drain_within_s": None,
        "soak_s": None,
        "keep_previous": None,
        "lock_ttl_s": None,
    },
    "lab": {"port": None, "network": None, "base_image": None, "capacity": None, "boot_s": None},
}
