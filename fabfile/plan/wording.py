"""Numbers with their nouns, as every message has them."""


def counted(number: int, noun: str) -> str:
    """Say a number of things: ``1 instance``, ``2 instances``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
