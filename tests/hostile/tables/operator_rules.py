"""What operators' settings additionally reject at submit, and what they allow."""

from typing import Any, Final

# Demanded by the specification of the guard: our own hosts. (settings, URL, why)
LISTED: Final[list[tuple[dict[str, Any], str, str]]] = [
    ({"denied_hosts": {"Infill.Example."}}, "http://infill.example/", "our own host"),
]

REFUSED: Final[list[tuple[dict[str, Any], str, str]]] = [
    ({"allowed_ports": {8443}}, "http://example.com:8444/", "next to an allowed port"),
    ({"allowed_ports": {0}}, "http://example.com:65536/", "past the last port"),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://127.0.0.1:65536/",
        "past the last port, in an opened network",
    ),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://8.8.8.8:9000/",
        "a public address at the port of an opened network",
    ),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://example.com:9000/",
        "a name at the port of an opened network",
    ),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.1/", "an opened address in two parts"),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://127。0。0。1/",
        "an opened address in disguise",
    ),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://localhost/",
        "no dot, though it means an opened address",
    ),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://x.localhost/",
        "inside name, though it means an opened address",
    ),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://0.0.0.0/",
        "this host, though loopback is open",
    ),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://10.0.0.1/", "private, though loopback is open"),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://[::1]/", "loopback of the other family"),
    (
        {"allowed_networks": ["127.0.0.0/8"]},
        "http://[::ffff:127.0.0.1]/",
        "an opened address, mapped",
    ),
    (
        {"allowed_networks": ["::/0", "0.0.0.0/0"]},
        "http://[::ffff:10.0.0.1]/",
        "mapped, though all is open",
    ),
    (
        {"allowed_networks": ["10.0.0.0/8"], "denied_networks": ["10.1.0.0/16"]},
        "http://10.1.0.1/",
        "denied within what is open",
    ),
    ({"denied_networks": ["8.8.8.0/24"]}, "http://8.8.8.8/", "a public address that is ours"),
    (
        {"denied_networks": ["2606:4700::/32"]},
        "http://[2606:4700::1]/",
        "a public address that is ours",
    ),
    (
        {"denied_hosts": {"infill.example"}},
        "http://API.infill.example./",
        "below our own host, dressed up",
    ),
    (
        {"denied_hosts": {"bücher.example"}},
        "http://xn--bcher-kva.example/",
        "our own host in its registered form",
    ),
    ({"denied_hosts": {"8.8.8.8"}}, "http://8.8.8.8/", "an address denied as if it were a name"),
    ({"webhooks_https_only": True}, "http://example.com/", "a webhook that is not https"),
    (
        {"allowed_networks": ["64:ff9b::/96"]},
        "http://[64:ff9b::a00:1]/",
        "private, behind an opened NAT64",
    ),
    (
        {"allowed_networks": ["64:ff9b::/96"]},
        "http://[64:ff9b::a9fe:a9fe]/",
        "metadata, behind an opened NAT64",
    ),
    (
        {"allowed_networks": ["64:ff9b::/96"], "denied_networks": ["8.8.8.0/24"]},
        "http://[64:ff9b::808:808]/",
        "ours, behind an opened NAT64",
    ),
    ({"allowed_networks": ["::/0"]}, "http://[2606:4700::1%25eth0]/", "zone, though all is open"),
    ({"allowed_networks": ["0.0.0.0/0"]}, "http://2130706433/", "decimal, though all is open"),
    ({"allowed_ports": [0]}, "http://example.com:0/", "port 0, though every port is open"),
    ({"allowed_ports": [0]}, "http://example.com:+80/", "sign, though every port is open"),
    ({}, "http://app.svc.cluster.local/", "an internal name that is not opened"),
    ({"internal_hosts": ["app:3000"]}, "http://app/", "an opened name at another port"),
    ({"internal_hosts": ["app:3000"]}, "http://app:3001/", "an opened name at another port"),
    ({"internal_hosts": ["app"]}, "http://app:3000/", "an opened name at an unusual port"),
    ({"internal_hosts": ["app"]}, "http://web/", "another name"),
    ({"internal_hosts": ["app"]}, "http://app.local/", "below another name"),
    ({"internal_hosts": ["*.svc.cluster.local"]}, "http://svc.cluster.local/", "no label below"),
    ({"internal_hosts": ["*.svc.cluster.local"]}, "http://xsvc.cluster.local/", "half a label"),
    ({"internal_hosts": ["*.svc.cluster.local"]}, "http://a.pod.cluster.local/", "a sibling"),
    (
        {"internal_hosts": ["*.svc.cluster.local"], "denied_hosts": ["db.svc.cluster.local"]},
        "http://db.svc.cluster.local/",
        "denied within what is open",
    ),
    ({"internal_hosts": ["*.internal"]}, "http://169.254.169.254/", "an address is no name"),
    (
        {"internal_hosts": ["app:3000"], "webhooks_https_only": True},
        "http://app:3000/",
        "a webhook that is not https",
    ),
]

PASSES: Final[list[tuple[dict[str, Any], str]]] = [
    ({"allowed_ports": {8443}}, "http://example.com:8443/"),
    ({"allowed_ports": {0}}, "http://example.com:1/"),
    ({"allowed_ports": {0}}, "http://example.com:65535/"),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.0.0.1/"),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.0.0.1:9000/"),
    ({"allowed_networks": ["::1/128"]}, "http://[::1]/"),
    ({"allowed_networks": ["10.0.0.0/8"], "denied_networks": ["10.1.0.0/16"]}, "http://10.2.0.1/"),
    ({"denied_hosts": {"infill.example"}}, "http://notinfill.example/"),
    ({"webhooks_https_only": True}, "https://example.com/"),
    ({"allowed_networks": ["64:ff9b::/96"]}, "http://[64:ff9b::808:808]/"),
    ({"allowed_networks": ["64:ff9b::/96", "10.0.0.0/8"]}, "http://[64:ff9b::a00:1]/"),
    ({"internal_hosts": ["app:3000"]}, "http://APP.:3000/hook"),
    ({"internal_hosts": ["app"]}, "http://app/hook"),
    ({"internal_hosts": ["app"]}, "https://app/hook"),
    ({"internal_hosts": ["app"], "allowed_ports": [3000]}, "http://app:3000/hook"),
    ({"internal_hosts": ["*.svc.cluster.local"]}, "http://a.b.svc.cluster.local/"),
    ({"internal_hosts": ["*.svc.cluster.local:8080"]}, "http://a.svc.cluster.local:8080/"),
    ({"internal_hosts": ["*.internal"]}, "http://hooks.internal/"),
]
