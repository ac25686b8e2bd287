"""The table of what the outbound guard has to reject: input, where, why. Tests run every row.

`python -m tests.hostile` prints it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.hostile.tables import addresses
from tests.hostile.tables import dns_names as names
from tests.hostile.tables import http_responses as answers
from tests.hostile.tables import operator_rules as operators
from tests.hostile.tables import redirects as hops
from tests.hostile.tables import tls_handshakes as handshakes
from tests.hostile.tables import url_spellings as spellings

# An input is cut off after so many characters.
SHOWN_CHARACTERS: Final = 100


class Where(StrEnum):
    """The step at which a case has to be rejected."""

    SUBMIT = "at submit, without DNS"
    CONNECT = "at connect"
    HOP = "at the hop"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True)
class Case:
    """One row; `listed` if the specification of the guard names it."""

    given: str
    where: Where
    why: str
    listed: bool = False


def _rows(
    where: Where, pairs: Iterable[tuple[str, str]], *, listed: bool = False
) -> Iterator[Case]:
    return (Case(given, where, why, listed) for given, why in pairs)


def _submitted() -> Iterator[Case]:
    for module in (addresses, spellings):
        yield from _rows(Where.SUBMIT, module.LISTED, listed=True)
        yield from _rows(Where.SUBMIT, module.OURS)
    for rows, listed in ((operators.LISTED, True), (operators.REFUSED, False)):
        pairs = [(f"{url} with {settings}", why) for settings, url, why in rows]
        yield from _rows(Where.SUBMIT, pairs, listed=listed)


def _connected() -> Iterator[Case]:
    for rows, listed in ((names.LISTED, True), (names.REFUSED, False), (names.NO_ANSWER, False)):
        pairs = [(f"a name, answered with: {what}", what) for what, _ in rows]
        yield from _rows(Where.CONNECT, pairs, listed=listed)
    for changing, listed in ((names.LISTED_CHANGING, True), (names.CHANGING, False)):
        pairs = [(f"a name, answered with: {what}", "it changes") for what, _, _ in changing]
        yield from _rows(Where.CONNECT, pairs, listed=listed)
    for why, _ in handshakes.UNTRUSTED:
        yield Case(f"a certificate: {why}", Where.CONNECT, why)
    for what, _, reason in handshakes.NO_HANDSHAKE:
        yield Case(f"instead of a handshake: {what}", Where.CONNECT, reason)


def _redirected() -> Iterator[Case]:
    yield from _rows(Where.HOP, [(f"location: {given}", why) for given, why in hops.REFUSED])
    yield from _rows(Where.HOP, hops.NO_REDIRECT)


def _answered() -> Iterator[Case]:
    slow, broken, much = "slow", "no proper answer", "too much"
    for rows, why, listed in (
        (answers.LISTED_SLOW, slow, True),
        (answers.LISTED_BROKEN, broken, True),
        (answers.LISTED_TOO_MUCH, much, True),
        (answers.SLOW, slow, False),
        (answers.BROKEN, broken, False),
        (answers.TOO_MUCH, much, False),
        (answers.CRUMBS, much, False),
    ):
        yield from _rows(
            Where.CUT_OFF, [(f"a host: {what}", why) for what, _ in rows], listed=listed
        )
    for rows, listed in ((handshakes.LISTED_STALLED, True), (handshakes.STALLED, False)):
        pairs = [(f"a handshake: {what}", slow) for what, _ in rows]
        yield from _rows(Where.CUT_OFF, pairs, listed=listed)
    for answer, told in answers.LISTED_REJECTED:
        yield Case(f"an answer: {answer!r}", Where.CUT_OFF, told, listed=True)
    for answer, told in answers.REJECTED:
        yield Case(f"an answer: {answer!r}", Where.CUT_OFF, told)


TABLE: Final = (*_submitted(), *_connected(), *_redirected(), *_answered())


def shown(case: Case) -> str:
    """Return a case as a row of a Markdown table."""
    given = case.given.encode("unicode_escape").decode()
    if len(given) > SHOWN_CHARACTERS:
        given = f"{given[:SHOWN_CHARACTERS]}… ({len(given)} characters)"
    return f"| {given} | {case.where} | {case.why} |"
