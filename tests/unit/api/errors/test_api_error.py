from pathlib import Path

from api.dialects.v3.errors import render_error
from api.errors.api_error import CreditsSpentError, QueueFullError, RateExceededError
from api.limits.headers import RateLimitSnapshot
from common.domain.errors import RunTimeExceededError

ROOT = Path(__file__).parents[4]
OF_V3 = ("api/dialects/v3/", "common/dialects/v3")


def test_a_quota_of_one_uses_the_singular() -> None:
    one = RateLimitSnapshot("any", 1, 0, 7)
    rate, queue = RateExceededError(one), QueueFullError(one)
    credits_spent = CreditsSpentError(one, cost="1", left="1", quota="1")
    assert rate.message == "Your plan allows 1 request per minute. Try again in 7 s."
    assert queue.message.startswith("Your plan allows at most 1 queued job, and ")
    assert credits_spent.message.startswith(
        "This job costs 1 credit, but you have 1 of this month's 1 left; "
    )
    assert b"Maximum 1 queued request allowed." in bytes(render_error("/", queue).body)
    assert b"Maximum 1 credit a month allowed." in bytes(render_error("/", credits_spent).body)
    assert RunTimeExceededError(1.0).message == "the job ran longer than the limit of 1 second"


def test_only_the_v3_renderer_contains_messege() -> None:
    spelling = {
        str(path.relative_to(ROOT))
        for part in ("api", "common", "worker", "deploy", "migrations")
        for path in (ROOT / part).rglob("*.py")
        if "messege" in path.read_text(encoding="utf-8")
    }
    assert spelling
    assert all(name.startswith(OF_V3) for name in spelling), spelling
