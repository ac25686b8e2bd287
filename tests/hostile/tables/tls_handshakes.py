"""Servers named `images.example` with untrusted certificates or stalled handshakes."""

import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeAlias

from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.peers import OK, Script, blurts, hangs_up, repeats, silence

NAME: Final = "images.example"

# Makes the server's context from an authority that the guard trusts and one that it does not.
Context: TypeAlias = Callable[[Authority, Authority], ssl.SSLContext]

DAY: Final = timedelta(days=1)


def _old(trusted: Authority, _stranger: Authority) -> ssl.SSLContext:
    context = trusted.server(NAME)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is outdated is the point
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


# Nothing of the request may reach them.
UNTRUSTED: Final[list[tuple[str, Context]]] = [
    ("another name", lambda ours, _: ours.server("other.example")),
    ("a name below ours", lambda ours, _: ours.server(f"cdn.{NAME}")),
    ("a name that ends like ours", lambda ours, _: ours.server(f"evil-{NAME}")),
    ("a name that begins like ours", lambda ours, _: ours.server(f"{NAME}.evil.example")),
    ("any name below ours", lambda ours, _: ours.server(f"*.{NAME}")),
    ("any name at all", lambda ours, _: ours.server("*")),
    ("any name of the top level", lambda ours, _: ours.server("*.example")),
    ("part of a name", lambda ours, _: ours.server("image*.example")),
    ("only an address", lambda ours, _: ours.server("127.0.0.1")),
    ("our name as a common name alone", lambda ours, _: ours.server(NAME, common_name_only=True)),
    ("signed by a stranger", lambda _, stranger: stranger.server(NAME)),
    ("signed by itself", lambda ours, _: ours.server(NAME, by_itself=True)),
    ("expired", lambda ours, _: ours.server(NAME, begins=-2 * DAY, ends=-DAY)),
    ("not yet valid", lambda ours, _: ours.server(NAME, begins=DAY, ends=2 * DAY)),
    ("for clients", lambda ours, _: ours.server(NAME, for_clients=True)),
    ("TLS 1.1", _old),
]

TRUSTED: Final[list[tuple[str, Context]]] = [
    ("our name", lambda ours, _: ours.server(NAME)),
    ("our name in upper case", lambda ours, _: ours.server(NAME.upper())),
]

# What comes instead of a handshake: (what, script, the one word that says what came of it).
NO_HANDSHAKE: Final[list[tuple[str, Script, str]]] = [
    ("HTTP unasked", blurts(OK), "tls"),
    ("noise", blurts(b"\xff" * 4000), "tls"),
    ("an alarm", blurts(b"\x15\x03\x03\x00\x02\x02\x28"), "tls"),
    ("hangs up", hangs_up, "connect"),
]

LISTED_STALLED: Final[list[tuple[str, Script]]] = [("says nothing", silence)]

STALLED: Final[list[tuple[str, Script]]] = [
    ("half a record", blurts(b"\x16\x03\x03\x40\x00\x02")),
    ("drips a record", repeats(b"\x16\x03\x03\x40\x00", b"\x02", pause_seconds=0.02)),
]
