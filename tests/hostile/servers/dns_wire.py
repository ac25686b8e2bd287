"""Responses that no honest name server sends, down to the bytes."""

import struct
from collections.abc import Callable, Sequence

import dns.message
import dns.rrset

from tests.hostile.servers.dns_server import Question, Script, records

HEADER_BYTES = 12


def silence(_question: Question) -> Sequence[bytes]:
    """Never respond."""
    return []


def nothing_but(wire: bytes) -> Script:
    """Respond with these bytes to any question."""
    return lambda _question: [wire]


def echo(question: Question) -> Sequence[bytes]:
    """Respond with the question itself."""
    return [question.wire]


def another_id(address: str) -> Script:
    """Respond with a message id that differs from the id of the question."""

    def script(question: Question) -> list[bytes]:
        (wire,) = records(f"A {address}")(question)
        return [bytes([wire[0] ^ 0xFF]) + wire[1:]]

    return script


def flooded_first(forged: str, real: str) -> Script:
    """Send forged answers under wrong numbers before the real one."""

    def script(question: Question) -> list[bytes]:
        answer = records(f"A {real}")(question)
        return [*list(another_id(forged)(question)) * 20, *answer]

    return script


def another_question(address: str) -> Script:
    """Answer what was not asked, under the right number."""

    def script(question: Question) -> list[bytes]:
        other = dns.message.make_query("other.example.", question.kind, id=question.message.id)
        return list(records(f"A {address}")(Question(other.to_wire())))

    return script


def in_the_additional_section(address: str) -> Script:
    """Put the address where helpful servers put what was not asked for."""

    def script(question: Question) -> list[bytes]:
        answer = dns.message.make_response(question.message)
        answer.additional.append(_rrset(question, "A", address))
        return [answer.to_wire()]

    return script


def another_kind(question: Question) -> Sequence[bytes]:
    """Answer the question for one family with an address of the other."""
    kind, address = ("AAAA", "::1") if question.kind == "A" else ("A", "127.0.0.2")
    answer = dns.message.make_response(question.message)
    answer.answer.append(_rrset(question, kind, address))
    return [answer.to_wire()]


def another_class(address: str) -> Script:
    """Answer with a record of no Internet."""

    def script(question: Question) -> list[bytes]:
        (wire,) = records(f"A {address}")(question)
        internet, other = struct.pack("!HH", 1, 1), struct.pack("!HH", 1, 3)
        at = wire.rfind(internet)
        return [wire if at < 0 else wire[:at] + other + wire[at + 4 :]]

    return script


def split_by_family(four: str, six: str) -> Script:
    """Answer both families."""
    return records(f"A {four}", f"AAAA {six}")


def long_aliases(number: int, address: str) -> Script:
    """Hide the address behind so many aliases."""
    chain = [f"a{n}.example. CNAME a{n + 1}.example." for n in range(number)]
    return records("CNAME a0.example.", *chain, f"a{number}.example. A {address}")


def a_crowd(first: str, number: int) -> Script:
    """Answer with so many addresses, all of them open."""
    others = [f"A 127.1.{n // 250}.{n % 250 + 1}" for n in range(number - 1)]
    return records(first, *others)


def a_loop_of_pointers(question: Question) -> Sequence[bytes]:
    """Answer with a name that is compressed to itself."""
    return _raw(question, lambda at: struct.pack("!H", 0xC000 | at))


def pointer_past_the_end(question: Question) -> Sequence[bytes]:
    """Answer with a name that is compressed to where there is nothing."""
    return _raw(question, lambda _at: struct.pack("!H", 0xFFFF))


def a_wrong_length(length: int) -> Script:
    """Answer with an address of so many bytes."""
    owner = struct.pack("!H", 0xC000 | HEADER_BYTES)
    return lambda question: _raw(question, lambda _at: owner, data=b"\x7f\0\0\2\0"[:length])


def promises(number: int) -> Script:
    """Claim so many answers in the header, and send one."""
    owner = struct.pack("!H", 0xC000 | HEADER_BYTES)
    return lambda question: _raw(question, lambda _at: owner, number=number)


def cut_short(question: Question) -> Sequence[bytes]:
    """Answer without the last bytes, and without saying so."""
    (wire,) = records("A 127.0.0.2", "AAAA ::1")(question)
    return [wire[:-3]]


def _raw(
    question: Question,
    owner: Callable[[int], bytes],
    *,
    data: bytes = b"\x7f\0\0\2",
    number: int = 1,
) -> list[bytes]:
    """Answer with one A record put together by hand."""
    asked = dns.message.make_query(question.name, question.kind, id=question.message.id).to_wire()
    head = asked[:2] + struct.pack("!HHHHH", 0x8180, 1, number, 0, 0)
    record = owner(len(asked)) + struct.pack("!HHIH", 1, 1, 60, len(data)) + data
    return [head + asked[HEADER_BYTES:] + record]


def _rrset(question: Question, kind: str, data: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(f"{question.name}.", 60, "IN", kind, data)
