"""Every pair of states of jobs and of deliveries."""

from itertools import product

import pytest

from common.domain import delivery, job
from common.domain.delivery import DeliveryState
from common.domain.job import FINAL_STATES, JobState

JOB_MOVES = {
    (JobState.QUEUED, JobState.RUNNING),
    (JobState.QUEUED, JobState.FAILED),
    (JobState.QUEUED, JobState.CANCELED),
    (JobState.RUNNING, JobState.QUEUED),
    (JobState.RUNNING, JobState.SUCCEEDED),
    (JobState.RUNNING, JobState.FAILED),
    (JobState.RUNNING, JobState.CANCELED),
}
DELIVERY_MOVES = {
    (DeliveryState.PENDING, DeliveryState.SENDING),
    (DeliveryState.SENDING, DeliveryState.PENDING),
    (DeliveryState.SENDING, DeliveryState.DELIVERED),
    (DeliveryState.SENDING, DeliveryState.EXHAUSTED),
    (DeliveryState.SENDING, DeliveryState.DISCARDED),
    (DeliveryState.DELIVERED, DeliveryState.PENDING),
    (DeliveryState.EXHAUSTED, DeliveryState.PENDING),
    (DeliveryState.DISCARDED, DeliveryState.PENDING),
}


@pytest.mark.parametrize(("source", "target"), [*product(JobState, JobState)])
def test_a_job_has_exactly_these_transitions(source: JobState, target: JobState) -> None:
    assert (target in job.TRANSITIONS[source]) == ((source, target) in JOB_MOVES)


@pytest.mark.parametrize(("source", "target"), [*product(DeliveryState, DeliveryState)])
def test_a_delivery_has_exactly_these_transitions(
    source: DeliveryState, target: DeliveryState
) -> None:
    assert (target in delivery.TRANSITIONS[source]) == ((source, target) in DELIVERY_MOVES)


def test_every_state_has_its_transitions() -> None:
    assert set(job.TRANSITIONS) == set(JobState)
    assert set(delivery.TRANSITIONS) == set(DeliveryState)


def test_a_job_has_three_final_states() -> None:
    assert set(FINAL_STATES) == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}
