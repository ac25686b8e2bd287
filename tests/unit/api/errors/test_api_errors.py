from api.errors.api_errors import CreditsSpentError, QueueFullError, RateExceededError
from api.limits.headers import RateLimitSnapshot
from common.domain.errors import RunTimeExceededError


def test_of_one_the_singular_is_used() -> None:
    one = RateLimitSnapshot("any", 1, 0, 7)
    rate, queue = RateExceededError(one), QueueFullError(one)
    credits_spent = CreditsSpentError(one, cost="1", left="1", quota="1")
    assert rate.tips == "Your plan allows 1 request per minute. Try again in 7 s."
    assert queue.message == "Rate limit exceeded. Maximum 1 queued request allowed."
    assert credits_spent.message == "Rate limit exceeded. Maximum 1 credit a month allowed."
    assert credits_spent.tips.startswith("This job costs 1 credit, and 1 is left, ")
    assert RunTimeExceededError(1.0).message == "the job ran longer than the limit of 1 second"
