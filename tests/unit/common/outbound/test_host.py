"""Random hosts: every accepted host is plain."""

import re
from ipaddress import AddressValueError, IPv4Address

from hypothesis import example, given
from hypothesis import strategies as st

from common.outbound.host import parse_host

DIGITS_AND_DISGUISES = st.text("0123456789.xXabcdef-。\uff0e①②\uff11\uff12\u0660٨", max_size=20)


@given(st.text(max_size=60) | DIGITS_AND_DISGUISES)
@example("İ.com")
@example("K.com")
@example("a.xn--")
def test_a_host_is_rejected_or_normalized(text: str) -> None:
    try:
        host, literal = parse_host(text)
    except ValueError:
        return
    assert host == str(literal) if literal else re.fullmatch(r"[a-z0-9._-]+", host)
    # Parsing the result changes nothing: it is fully normalized.
    if not text.startswith("["):
        assert parse_host(host) == (host, literal)


@given(DIGITS_AND_DISGUISES)
def test_a_name_never_reads_as_an_address(text: str) -> None:
    try:
        host, literal = parse_host(text)
    except ValueError:
        return
    try:
        address = IPv4Address(host)
    except AddressValueError:
        assert literal is None
    else:
        assert address == literal
        assert host == text
