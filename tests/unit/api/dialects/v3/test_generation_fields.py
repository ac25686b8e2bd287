"""Choice of model and scheduler, the safety checker a plan requires, mask options."""

from typing import Any

import pytest

from api.dialects.v3.schemas import GenerationBody, ImageToImageBody, InpaintBody, TextToImageBody
from common.domain.errors import UnsupportedRequestError
from common.domain.generation import Endpoint
from common.domain.limits import Limits
from tests.support.requests import INPAINT_BODY
from tests.unit.api.dialects.v3.test_schemas import SCHEDULER, errors, model, read

CHECKED = Limits(require_safety_checker=True)
PLAIN, SAFE, WRITER = (
    model("plain"),
    model("safe", safety_checker=True),
    model("writer", endpoints=(Endpoint.TEXT2IMG,)),
)
ALL = (PLAIN, SAFE, WRITER)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("DPM++ 2M Karras", "DPM++ 2M Karras"),
        (" dpm++  2m karras ", "DPM++ 2M Karras"),
        ("DPMSolverMultistepScheduler", "DPM++ 2M"),
        ("eulerancestraldiscretescheduler", "Euler a"),
        ("PLMS", "PNDM"),
        ("", None),
        (None, None),
        ("null", None),
    ],
)
@pytest.mark.parametrize("kind", [InpaintBody, ImageToImageBody, TextToImageBody])
def test_a_scheduler_is_found_by_each_of_its_names(
    kind: type[GenerationBody], sent: str | None, kept: str | None
) -> None:
    assert read({**INPAINT_BODY, "scheduler": sent}, kind).scheduler == kept


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("LMS Karras", "needs the Python package scipy, which this server does not have"),
        ("lmsDiscreteScheduler", "needs the Python package scipy, which this server does not have"),
        ("DPM++ 2S a", "is not available in this service; the closest is DPM++ 2S"),
        ("KarrasVeScheduler", "is for a kind of model that this service does not run"),
    ],
)
def test_an_unsupported_scheduler_is_rejected_with_the_reason(sent: str, why: str) -> None:
    result = f"The scheduler field must be {SCHEDULER}: {sent} {why}."
    assert errors({**INPAINT_BODY, "scheduler": sent}) == {"scheduler": [result]}


LCM = {**INPAINT_BODY, "scheduler": "lcm"}
FEW = "The num_inference_steps field must be a whole number from 1 to 50 with the scheduler LCM."
STRONG = "The strength field must be a number from 0.02 to 1 with the scheduler LCM."


def test_step_counts_that_a_scheduler_does_not_support_are_rejected() -> None:
    assert errors({**LCM, "num_inference_steps": 51}) == {"num_inference_steps": [FEW]}
    assert errors({**LCM, "strength": 0.019}) == {"strength": [STRONG]}
    body = read({**LCM, "num_inference_steps": 50, "strength": 0.02})
    assert (body.num_inference_steps, body.strength_used) == (50, 0.02)
    assert (
        read({**INPAINT_BODY, "num_inference_steps": 51, "strength": 0.001}).strength_used == 0.001
    )
    few = Limits(max_inference_steps=20)
    (result,) = errors({**LCM, "num_inference_steps": 51}, limits=few)["num_inference_steps"]
    assert "from 1 to 20 on your plan" in result


def test_the_scheduler_of_the_models_file_is_the_default() -> None:
    lcm = model(scheduler="LCMScheduler")
    many = {**INPAINT_BODY, "num_inference_steps": 51}
    assert errors(many, InpaintBody, lcm) == {"num_inference_steps": [FEW]}
    assert read({**many, "scheduler": "DDIM"}, InpaintBody, lcm).num_inference_steps == 51


def test_a_wrong_scheduler_hides_no_other_error() -> None:
    result = errors({**INPAINT_BODY, "scheduler": "x", "num_inference_steps": 52, "model_id": "y"})
    assert set(result) == {"scheduler", "num_inference_steps", "model_id"}


def model_error(sent: object, kind: type[GenerationBody] = InpaintBody, **limits: Any) -> str:
    """Return the error for a model that may not be chosen."""
    (result,) = errors({**INPAINT_BODY, "model_id": sent}, kind, *ALL, limits=Limits(**limits))[
        "model_id"
    ]
    return str(result)


def test_a_model_may_be_chosen_of_those_that_support_the_endpoint() -> None:
    assert read({**INPAINT_BODY, "model_id": " safe "}, InpaintBody, *ALL).model_id == "safe"
    wanted = "null or a model that supports inpaint (plain, safe)"
    for sent in ("writer", "unknown", "Safe", "x" * 5000):
        assert model_error(sent) == f"The model_id field must be {wanted}."
    wanted = "null or the name of a model that supports this endpoint"
    assert model_error(5) == f"The model_id field must be {wanted}."
    assert "(plain, safe, writer)." in model_error("unknown", TextToImageBody)


def test_models_that_the_plan_excludes_are_neither_chosen_nor_named() -> None:
    result = model_error("plain", models=("safe", "writer"))
    wanted = "null or a model that supports inpaint on your plan (safe)"
    assert result == f"The model_id field must be {wanted}."


def test_fields_are_validated_for_the_chosen_model() -> None:
    checked = {**INPAINT_BODY, "safety_checker": "yes"}
    assert set(errors(checked, InpaintBody, *ALL)) == {"safety_checker"}
    assert read({**checked, "model_id": "safe"}, InpaintBody, *ALL).safety_checker is True


@pytest.mark.parametrize("sent", ["no", "yes", None, False, "0"])
def test_a_plan_that_requires_the_safety_checker_switches_it_on(sent: object) -> None:
    body = read({**INPAINT_BODY, "safety_checker": sent}, InpaintBody, *ALL, limits=CHECKED)
    assert body.safety_checker is True
    result = errors({**INPAINT_BODY, "safety_checker": "x"}, InpaintBody, *ALL, limits=CHECKED)
    assert result == {"safety_checker": ["The safety_checker field must be yes or no."]}


def test_a_plan_that_requires_the_safety_checker_rejects_models_without_one() -> None:
    result = model_error("plain", require_safety_checker=True)
    assert result == (
        "The model_id field must be null or a model that supports inpaint (safe); "
        "your plan requires the safety checker, and plain has none."
    )
    with pytest.raises(UnsupportedRequestError) as caught:
        read(INPAINT_BODY, TextToImageBody, PLAIN, WRITER, limits=CHECKED)
    assert caught.value.message == (
        "Your plan requires the safety checker, but no model that supports text2img has one "
        "(plain, writer). Ask the operator of this service to add such a model or to change "
        "your plan."
    )


def test_mask_options_are_read() -> None:
    sent = {"mask_invert": "yes", "mask_grow": "-64", "mask_blur": 64, "mask_padding": "0"}
    kept = {"mask_invert": True, "mask_grow": -64, "mask_blur": 64, "mask_padding": 0}
    assert read({**INPAINT_BODY, **sent}).mask_changes == kept
    plain = {"mask_invert": False, "mask_grow": 0, "mask_blur": 0, "mask_padding": None}
    assert read(INPAINT_BODY).mask_changes == plain
    assert read({**INPAINT_BODY, **sent}, ImageToImageBody).mask_changes == {}
