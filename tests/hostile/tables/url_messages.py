"""What the caller reads about a rejected URL: (URL, message).

The message names what is wrong with the text of the URL. Whatever depends on our network has one
message, so that nobody can map the network by comparing messages.
"""

from typing import Final

OPAQUE: Final = "the address is not allowed"

NAMED: Final = [
    ("example.com/hook", "the URL does not start with http:// or https:// and a host"),
    ("//example.com/hook", "the URL does not start with http:// or https:// and a host"),
    ("ftp://example.com/", "the URL does not start with http:// or https:// and a host"),
    ("http:///example.com", "the URL does not start with http:// or https:// and a host"),
    ("", "the URL does not start with http:// or https:// and a host"),
    ("http://user:word@example.com/", "the URL has a user name or a password, which are not sent"),
    ("http://a.com@127.0.0.1/", "the URL has a user name or a password, which are not sent"),
    ("http://example.com/a b", "the URL has white space, a control character or a backslash"),
    ("http://example.com\\a", "the URL has white space, a control character or a backslash"),
    ("http://example.com/" + "a" * 8192, "the URL is longer than 8192 characters"),
    ("http://a.com/" + "\u00e4" * 4000, "the URL is longer than 8192 characters once encoded"),
    ("http://example.com/\ud800", "the URL has half of a surrogate pair"),
    ("http://redis/", "the host name in the URL has no dot"),
    ("http://localhost:6379/", "the host name in the URL has no dot"),
    ("http://exam*ple.com/", "the URL has no valid host name"),
    ("http://example..com/", "the URL has no valid host name"),
    ("http://%65xample.com/", "the URL has no valid host name"),
    ("http://[::1/", "the URL has no valid host name"),
    ("http://exam\u202eple.com/", "the host name has characters that no name can have"),
    ("http://" + "a." * 130 + "com/", "the host name is longer than 253 characters"),
    ("http://127.1/", "an IP address must be written like 192.0.2.1"),
    ("http://2130706433/", "an IP address must be written like 192.0.2.1"),
    ("http://[1::2::3]/", "an IP address must be written like [2001:db8::1]"),
    ("http://example.com:0/", "the port in the URL is not a number from 1 to 65535"),
    ("http://example.com:70000/", "the port in the URL is not a number from 1 to 65535"),
    ("http://example.com:http/", "the port in the URL is not a number from 1 to 65535"),
    ("http://example.com:8080/", "port 8080 is not one of the allowed ports 80, 443"),
    ("http://8.8.8.8:22/", "port 22 is not one of the allowed ports 80, 443"),
    ("http://10.0.0.1/", OPAQUE),
    ("http://10.0.0.1:22/", OPAQUE),
    ("http://127.0.0.1:6379/", OPAQUE),
    ("http://[::1]:8080/", OPAQUE),
    ("http://169.254.169.254/latest/meta-data/", OPAQUE),
    ("http://168.63.129.16/", OPAQUE),
    ("http://metadata.google.internal/", OPAQUE),
    ("http://redis.default.svc.cluster.local:6379/", OPAQUE),
    ("http://x.localhost:22/", OPAQUE),
]
