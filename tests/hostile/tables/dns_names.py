"""Responses of a name server: rejected at connect, unusable, and accepted ones.

127.0.0.1, 127.0.0.3 and 127.1.0.0/16 stand for public hosts, opened by setting; 127.0.0.2 does not.
"""

from typing import Final

import dns.flags

from tests.hostile.servers.dns_server import Script, records
from tests.hostile.servers.dns_wire import (
    a_crowd,
    a_loop_of_pointers,
    a_wrong_length,
    another_class,
    another_id,
    another_kind,
    another_question,
    cut_short,
    echo,
    flooded_first,
    in_the_additional_section,
    long_aliases,
    nothing_but,
    pointer_past_the_end,
    promises,
    silence,
    split_by_family,
)

GOOD: Final = "A 127.0.0.1"

# Demanded by the specification of the guard; so is LISTED_CHANGING.
LISTED: Final[list[tuple[str, Script]]] = [
    ("a private address", records("A 127.0.0.2")),
    ("a private beside a public address", records(GOOD, "A 127.0.0.2")),
    ("a unique local AAAA beside a public A", records(GOOD, "AAAA fd00:ec2::254")),
]

REFUSED: Final[list[tuple[str, Script]]] = [
    ("private first", records("A 127.0.0.2", GOOD)),
    ("private between two public ones", records(GOOD, "A 127.0.0.2", "A 127.0.0.3")),
    ("private ten down the list", records(*[f"A 127.0.0.{n}" for n in (1, 3)], "A 10.0.0.1")),
    ("this host", records("A 0.0.0.0")),
    ("this host beside a public one", records(GOOD, "A 0.0.0.0")),
    ("metadata", records("A 169.254.169.254")),
    ("metadata beside a public one", records(GOOD, "A 169.254.169.254")),
    ("Azure's host agent", records("A 168.63.129.16")),
    ("carrier-grade NAT", records("A 100.64.0.1")),
    ("broadcast", records("A 255.255.255.255")),
    ("multicast", records("A 224.0.0.1")),
    ("only a private AAAA", records("AAAA fd00::1")),
    ("only loopback's AAAA", records("AAAA ::1")),
    ("loopback's AAAA beside a public A", records(GOOD, "AAAA ::1")),
    ("unspecified AAAA", records(GOOD, "AAAA ::")),
    ("link local AAAA", records("AAAA fe80::1")),
    ("mapped loopback", records("AAAA ::ffff:127.0.0.2")),
    ("a mapped address that is open otherwise", records("AAAA ::ffff:127.0.0.1")),
    ("compatible loopback", records("AAAA ::127.0.0.2")),
    ("NAT64 of metadata", records("AAAA 64:ff9b::a9fe:a9fe")),
    ("local NAT64", records("AAAA 64:ff9b:1::7f00:2")),
    ("6to4 of loopback", records("AAAA 2002:7f00:2::1")),
    ("Teredo", records("AAAA 2001:0:7f00:2::1")),
    ("ISATAP under a public prefix", records("AAAA 2606:4700::5efe:7f00:2")),
    ("an alias of a private address", records("CNAME in.example.", "in.example. A 127.0.0.2")),
    ("an alias of localhost", records("CNAME localhost.", "localhost. A 127.0.0.2")),
    (
        "an alias of a cloud's metadata",
        records("CNAME metadata.google.internal.", "metadata.google.internal. A 169.254.169.254"),
    ),
    (
        "an alias of public and private",
        records("CNAME b.example.", "b.example. A 127.0.0.1", "b.example. A 127.0.0.2"),
    ),
    ("aliases of aliases", long_aliases(8, "127.0.0.2")),
    ("an alias in odd case", records("CNAME B.eXaMpLe.", "b.ExAmPlE. A 127.0.0.2")),
    ("private, to be kept for 68 years", records("A 127.0.0.2", ttl=2**31 - 1)),
    ("private, not to be kept", records("A 127.0.0.2", ttl=0)),
    ("private by A, public by AAAA", split_by_family("127.0.0.2", "2606:4700::1")),
    ("a good answer under another number first", flooded_first("127.0.0.1", "127.0.0.2")),
]

# The name does not resolve, and that is all: nothing is connected to.
NO_ANSWER: Final[list[tuple[str, Script]]] = [
    ("no such name", records(rcode=3)),
    ("no addresses", records()),
    ("only text", records("TXT hello")),
    ("server failure", records(rcode=2)),
    ("refused", records(rcode=5)),
    ("a private address with a server failure", records("A 127.0.0.2", rcode=2)),
    ("silence", silence),
    ("an empty datagram", nothing_but(b"")),
    ("noise", nothing_but(b"\xff" * 600)),
    ("HTTP", nothing_but(b"HTTP/1.1 200 OK\r\n\r\n")),
    ("the question itself", echo),
    ("another number", another_id("127.0.0.2")),
    ("an answer to another question", another_question("127.0.0.2")),
    ("the address of another name", records("other.example. A 127.0.0.2")),
    ("an address beside the answer", in_the_additional_section("127.0.0.2")),
    ("an A where AAAA was asked, and the reverse", another_kind),
    ("another class of network", another_class("127.0.0.2")),
    ("an alias that leads nowhere", records("CNAME gone.example.")),
    ("an alias of itself", records("CNAME images.example.")),
    ("two aliases of each other", records("CNAME b.example.", "b.example. CNAME images.example.")),
    ("forty aliases", long_aliases(40, "127.0.0.2")),
    ("a name that points at itself", a_loop_of_pointers),
    ("a name that points past the end", pointer_past_the_end),
    ("an address of three bytes", a_wrong_length(3)),
    ("an address of five bytes", a_wrong_length(5)),
    ("more answers promised than there are", promises(65_535)),
    ("cut off in the middle", cut_short),
    ("cut by flag", records(GOOD, flags=dns.flags.TC)),
    ("private, cut by flag", records("A 127.0.0.2", flags=dns.flags.TC)),
    ("65 addresses", a_crowd(GOOD, 65)),
]

# (what, first answer, later answers): the first look-up may be used, the second must be refused.
LISTED_CHANGING: Final[list[tuple[str, Script, Script]]] = [
    ("public, then private", records(GOOD), records("A 127.0.0.2")),
]
CHANGING: Final[list[tuple[str, Script, Script]]] = [
    ("public, then private, not to be kept", records(GOOD, ttl=0), records("A 127.0.0.2", ttl=0)),
    ("public, then both", records(GOOD), records(GOOD, "A 127.0.0.2")),
    ("public, then an inside AAAA", records(GOOD), records(GOOD, "AAAA fd00::1")),
    (
        "public, then an alias",
        records(GOOD),
        records("CNAME in.example.", "in.example. A 127.0.0.2"),
    ),
]

PASSES: Final[list[tuple[str, Script]]] = [
    ("a public address", records(GOOD)),
    ("two of them", records(GOOD, "A 127.0.0.3")),
    ("the same twice", records(GOOD, GOOD)),
    ("to be kept forever", records(GOOD, ttl=2**31 - 1)),
    ("an alias", records("CNAME b.example.", "b.example. A 127.0.0.1")),
    ("aliases of aliases", long_aliases(8, "127.0.0.1")),
    ("in odd case", records("ImAgEs.ExAmPlE. A 127.0.0.1")),
    ("64 addresses", a_crowd(GOOD, 64)),
    ("beside the private address of another name", records(GOOD, "other.example. A 127.0.0.2")),
    ("a private answer under another number first", flooded_first("127.0.0.2", "127.0.0.1")),
]
