"""Remembering so many things at most."""

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def remember(kept: dict[Key, Value], key: Key, value: Value, *, most: int) -> None:
    """Keep a value under a new key; of more than `most` the oldest goes."""
    if len(kept) >= most:
        del kept[next(iter(kept))]  # dicts keep their order
    kept[key] = value
