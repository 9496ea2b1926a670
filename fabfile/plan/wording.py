"""Numbers with their nouns, and errors in one line, as every message has them."""


def counted(number: int, noun: str) -> str:
    """Say a number of things: ``1 instance``, ``2 instances``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def one_line(said: object) -> str:
    """Say in one line what an error, or a tool, said in several."""
    return " ".join(str(said).split())
