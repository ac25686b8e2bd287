"""The table of schedulers."""

from collections import Counter

import pytest

from common.domain.schedulers import (
    SCHEDULERS,
    UNSUPPORTED,
    find_scheduler,
    find_unsupported_reason,
)

# The hosted service's list of its `scheduler` field, and its table of A1111 names.
HOSTED = [
    *("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "KDPM2DiscreteScheduler"),
    *("KDPM2AncestralDiscreteScheduler", "UniPCMultistepScheduler", "DDIMInverseScheduler"),
    *("DEISMultistepScheduler", "IPNDMScheduler", "KarrasVeScheduler", "ScoreSdeVeScheduler"),
    "LCMScheduler",
]
A1111 = [
    *("DPM++ 2M", "DPM++ 2M Karras", "DPM++ 2M SDE", "DPM++ 2M SDE Karras", "DPM++ 2S a"),
    *("DPM++ 2S a Karras", "DPM++ SDE", "DPM++ SDE Karras", "DPM2", "DPM2 Karras", "DPM2 a"),
    *("DPM2 a Karras", "DPM adaptive", "DPM fast", "Euler", "Euler a", "Heun", "LMS", "LMS Karras"),
    *("DEIS", "UniPC", "LCM", "DDIM", "PLMS", "DPM++ 3M SDE", "DPM++ 3M SDE Karras", "DDPM"),
]


@pytest.mark.parametrize("name", [*HOSTED, *A1111])
def test_a_name_of_the_hosted_service_is_supported_or_rejected_with_a_reason(name: str) -> None:
    assert (find_scheduler(name) is None) == (find_unsupported_reason(name) is not None)


def test_no_two_schedulers_share_a_name() -> None:
    names = [name for entry in SCHEDULERS for name in (entry.name, *entry.aliases)]
    counted = Counter(name.casefold() for name in (*names, *UNSUPPORTED))
    assert {name for name, times in counted.items() if times > 1} == set()


def test_a_class_name_selects_its_plain_scheduler() -> None:
    for name in {entry.class_name for entry in SCHEDULERS}:
        entry = find_scheduler(name)
        assert entry is not None
        assert entry.class_name == name
        assert "Karras" not in entry.name
        assert "SDE" not in entry.name


def test_case_and_spaces_of_a_scheduler_name_are_ignored() -> None:
    for entry in SCHEDULERS:
        for name in (entry.name, *entry.aliases):
            assert find_scheduler(name.upper()) is entry
            assert find_scheduler(f" {name.lower().replace(' ', '  ')} ") is entry
    assert find_scheduler("dpm++2m") is None
    assert find_unsupported_reason("unknown") is None
