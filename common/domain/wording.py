"""How sentences are put together."""


def counted(number: int | str, thing: str) -> str:
    """Give a number, or a text that spells one, with what it counts: `1 job`, `0.5 jobs`."""
    return f"{number} {thing}" if str(number) == "1" else f"{number} {thing}s"
