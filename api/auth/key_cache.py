"""How long a key that was looked up is trusted."""


def trusted_seconds(most: float, seconds_left: float | None) -> float:
    """Give how long a key that was looked up is trusted: `most`, but never beyond its end."""
    return most if seconds_left is None else min(most, seconds_left)
