"""Remembering so many things at most, and keys no longer than they live."""

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def remember(kept: dict[Key, Value], key: Key, value: Value, *, most: int) -> None:
    """Keep a value under a new key; of more than `most` the oldest goes."""
    if len(kept) >= most:
        del kept[next(iter(kept))]  # dicts keep their order
    kept[key] = value


def trusted_seconds(most: float, seconds_left: float | None) -> float:
    """Give how long a key that was looked up is trusted: `most`, but never beyond its end."""
    return most if seconds_left is None else min(most, seconds_left)
