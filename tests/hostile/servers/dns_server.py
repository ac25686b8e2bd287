"""A name server on loopback that responds as scripted by a test, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

LONG: Final = 65_535  # bytes of the longest message


class Question:
    """One question as received."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.message = dns.message.from_wire(wire)
        (asked,) = self.message.question
        self.name = asked.name.to_text(omit_final_dot=True)
        self.kind = dns.rdatatype.to_text(asked.rdtype)


# The response to a question: messages as on the wire, none for silence.
Script: TypeAlias = Callable[[Question], Sequence[bytes]]


def records(*lines: str, ttl: int = 60, flags: int = 0, rcode: int = 0) -> Script:
    """Answer with records written `TYPE data`, or `owner. TYPE data` for another owner.

    Those of the other family than the one asked for are left out, as a proper server does.
    """

    def script(question: Question) -> list[bytes]:
        answer = dns.message.make_response(question.message)
        answer.set_rcode(rcode)  # type: ignore[arg-type] # any number will do
        answer.flags |= flags
        for line in lines:
            *owner, kind, data = line.split()
            if kind in {"A", "AAAA"} and kind != question.kind:
                continue
            rrset = dns.rrset.from_text(
                owner[0] if owner else f"{question.name}.", ttl, "IN", kind, data
            )
            answer.answer.append(rrset)
        return [answer.to_wire(max_size=LONG)]

    return script


class NameServer:
    """Responds to each look-up of a name with its next script, then always with the last."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self._scripts: dict[str, tuple[Script, ...]] = {}
        self._turns: dict[tuple[str, str], int] = {}

    def add(self, name: str, *scripts: Script) -> None:
        """Set the responses for a name, in order; A and AAAA are counted separately."""
        self._scripts[name] = scripts

    def answer(self, wire: bytes) -> Sequence[bytes]:
        question = Question(wire)
        key = (question.name.lower(), question.kind)
        self.asked.append(key)
        scripts = self._scripts.get(key[0], (records(rcode=3),))
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        return scripts[min(turn, len(scripts) - 1)](question)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._transport
        for message in self._server.answer(data):
            self._transport.sendto(message, address)


@asynccontextmanager
async def answering() -> AsyncIterator[NameServer]:
    """Run a name server on a free port of 127.0.0.1 while the block lasts."""
    server = NameServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server), ("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
