"""The samples of docs/webhooks.md verify our webhooks, in Python and in Node.js."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from standardwebhooks import WebhookVerificationError

from common.runtime.clock import utc_now
from common.standard_webhooks.keys import load_signing_key, new_secret, new_signing_key, public_key
from common.standard_webhooks.signing import signed_headers
from tests.unit.docs.samples import NodeSamples, python_samples

BODY = '{"status": "success", "track_id": "ein Kätzchen"}'.encode()
EVENT = {"status": "success", "track_id": "ein Kätzchen"}
REJECTIONS = (WebhookVerificationError, ValueError)

Verify: TypeAlias = Callable[[str, dict[str, str], bytes], Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeSamples:
    return NodeSamples(tmp_path_factory.mktemp("node"))


@pytest.fixture(params=["python", "node"])
def v1(request: pytest.FixtureRequest, node: NodeSamples) -> Verify:
    """Return the page's function to verify `v1` in a language."""
    if request.param == "node":
        return partial(node.call, "verified")
    verify: Verify = python_samples()["verified"]
    return verify


@pytest.fixture(params=["python", "node"])
def v1a(request: pytest.FixtureRequest, node: NodeSamples) -> Verify:
    """Return the page's function to verify `v1a` in a language."""
    if request.param == "node":
        return partial(node.call, "verifiedV1a")
    verify: Verify = python_samples()["verified_v1a"]
    return verify


def test_the_samples_verify_v1_signatures(v1: Verify) -> None:
    old, new = new_secret(), new_secret()
    key = load_signing_key(new_signing_key())
    headers = signed_headers(uuid4(), utc_now(), BODY, secrets=[new, old], key=key)
    assert v1(old, headers, BODY) == v1(new, headers, BODY) == EVENT
    only_v1a = headers | {"webhook-signature": headers["webhook-signature"].split()[-1]}
    for secret, sent, body in (
        (new_secret(), headers, BODY),
        (new, headers, BODY + b" "),
        (new, headers | {"webhook-id": str(uuid4())}, BODY),
        (new, headers | {"webhook-timestamp": "1"}, BODY),
        (new, headers | {"webhook-timestamp": "soon"}, BODY),
        (new, headers | {"webhook-signature": ""}, BODY),
        (new, only_v1a, BODY),
    ):
        with pytest.raises(REJECTIONS):
            v1(secret, sent, body)


def test_the_samples_verify_v1a_signatures(v1a: Verify) -> None:
    key = load_signing_key(new_signing_key())
    headers = signed_headers(uuid4(), utc_now(), BODY, secrets=[new_secret()], key=key)
    assert v1a(public_key(key), headers, BODY) == EVENT
    with pytest.raises(ValueError, match="no valid signature"):
        v1a(public_key(key), headers, BODY + b" ")
    with pytest.raises(ValueError, match="no valid signature"):
        v1a(public_key(load_signing_key(new_signing_key())), headers, BODY)
    with pytest.raises(ValueError, match="outside the tolerance"):
        v1a(public_key(key), headers | {"webhook-timestamp": "1"}, BODY)
