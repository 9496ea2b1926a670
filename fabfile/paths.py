"""Where the files beside the code are: templates, Ansible's roles, Packer's configuration."""

from pathlib import Path


def data(name: str) -> Path:
    """Return one of these folders by name: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    inside = here / name
    return inside if inside.is_dir() else here.parent / name
