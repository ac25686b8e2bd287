import base64
from typing import Any

import pytest

from api.dialects.v3.schemas import (
    GenerationBody,
    ImageToImageBody,
    InpaintBody,
    TextToImageBody,
    read_body,
)
from api.dialects.v3.validation import ValidationContext
from api.errors.api_error import InvalidFieldsError
from api.jobs.model_choice import model_choice_for
from common.domain.generation import Endpoint
from common.domain.limits import Limits
from common.domain.schedulers import SCHEDULER_NAMES
from common.outbound import Guard
from common.settings import OutboundSettings
from common.settings.catalogue import Catalogue, ModelEntry
from tests.support.requests import IMAGE_URL, IMG2IMG_BODY, INPAINT_BODY, TEXT2IMG_BODY

PIXELS = b"\x89PNG pixels"
SENT = base64.b64encode(PIXELS).decode()
UNLIMITED = Limits()

SIDE = "a multiple of 8 from 64 to 1024"
TEXT = "text of 1 to 2000 characters"
PUBLIC = "an http or https URL with a public host"
ADDRESS = f"{PUBLIC}: the address is not allowed"
NO_SCHEME = "the URL does not start with http:// or https:// and a host"
WHITE_SPACE = "the URL has white space, a control character or a backslash"
USER = "the URL has a user name or a password, which are not sent"
IMAGE_FORMS = "an http or https URL, an image file as base64 text, or a base64 data: URI"
SCHEDULER = (
    f"null, one of {', '.join(SCHEDULER_NAMES)}, or the diffusers class name of one of these"
)
SEED = "null, -1 or a whole number from 0 to 4294967295"
TRACK = "null, text of at most 1000 characters, or a number between -2^63 and 2^63"
UNSUPPORTED = "this service does not support it"


def model(name: str = "plain", **changes: Any) -> ModelEntry:
    entry = {"name": name, "source": "random:base", "endpoints": tuple(Endpoint), "licence": "none"}
    return ModelEntry(**{**entry, **changes})


def read(
    fields: dict[str, Any],
    kind: type[GenerationBody] = InpaintBody,
    *models: ModelEntry,
    limits: Limits = UNLIMITED,
) -> GenerationBody:
    choice = model_choice_for(Catalogue(models or (model(),)), limits, kind.endpoint)
    entry = choice.pick(fields.get("model_id"))
    return read_body(
        kind, fields, ValidationContext(Guard(OutboundSettings()), 100, entry, limits, choice)
    )


def errors(
    fields: dict[str, Any],
    kind: type[GenerationBody] = InpaintBody,
    *models: ModelEntry,
    limits: Limits = UNLIMITED,
) -> Any:
    with pytest.raises(InvalidFieldsError) as caught:
        read(fields, kind, *models, limits=limits)
    return {error.path[0]: [error.detail] for error in caught.value.field_errors}


BAD: list[tuple[str, str, list[object]]] = [
    ("prompt", TEXT, ["x" * 2001, "\ud800", 5, []]),
    ("negative_prompt", f"null or {TEXT}", ["x" * 2001, {}, "\udfff"]),
    ("width", SIDE, [63, 1032, 513, "513", True, "wide", 512.5, []]),
    ("height", SIDE, ["0"]),
    ("samples", "a whole number from 1 to 4", [0, 5, "two", False]),
    ("num_inference_steps", "a whole number from 1 to 51", [0, 52, "1.5", "9" * 5000]),
    ("priority", "a whole number from -100 to 100", [-101, 101, "high", 0.5, True]),
    ("guidance_scale", "a number from 1 to 20", [0.9, 21, "nan", True]),
    ("strength", "a number greater than 0 and at most 1", [0, 1.01, "-1", "inf", "strong"]),
    ("base64", "yes or no", ["maybe", 2, [], "ja"]),
    ("enhance_prompt", "yes or no", ["x"]),
    ("mask_invert", "yes or no", ["maybe", 2]),
    ("mask_grow", "a whole number of pixels from -64 to 64", [-65, 65, 0.5, "wide", True]),
    ("mask_blur", "a whole number of pixels from 0 to 64", [-1, 65, "1.5", False]),
    ("mask_padding", "null or a whole number of pixels from 0 to 256", [-1, 257, "x", True]),
    ("scheduler", SCHEDULER, ["unknown", "DPM", "AutoencoderKL", 5, [], True]),
    ("seed", SEED, [-2, "-2", -1.5, 2**32, "1.5", True, "x", {}]),
    ("track_id", TRACK, [True, "x" * 1001, "\ud800", 2**63, 1e300, [], {"a": 1}]),
    (
        "webhook",
        ADDRESS,
        [
            "http://127.0.0.1/",
            "http://x.localhost/",
        ],
    ),
    ("webhook", f"{PUBLIC}: {NO_SCHEME}", ["ftp://example.com/", "hook"]),
    ("webhook", f"{PUBLIC}: {WHITE_SPACE}", [f"{IMAGE_URL}\n/a", f"{IMAGE_URL} a"]),
    ("init_image", f"{PUBLIC}: {WHITE_SPACE}", [f" {IMAGE_URL}\n/a"]),
    ("init_image", f"{PUBLIC}: {USER}", ["https://u@example.com/a"]),
    ("webhook", "null or an http or https URL with a public host", [5]),
    ("init_image", ADDRESS, ["http://x.localhost/", "http://10.0.0.1/a", "https://[::1]/a"]),
    ("mask_image", IMAGE_FORMS, [7, [], True]),
]
BAD_BASE64 = [
    ("the character '@' at position 1 is not base64", "@@@@"),
    ("the character '.' at position 4 is not base64", "cat.png"),
    ("the character 'é' at position 5 is not base64", "AAAAé"),
    ("the character '*' at position 27 is not base64", "data:image/png;base64,AAAA*"),
    ("the character '*' at position 29 is not base64", " data:image/png;base64, AAAA*"),
    ("the base64 text is incomplete: its last character stands alone", SENT[:-3]),
    ("it continues after its padding (=)", SENT + " x"),
    ("it ends with too much padding (=)", "AAAA="),
    ("it ends with too much padding (=)", "AA==="),
    ("the data: URI does not begin like data:image/png;base64,", "data:image/png,abc"),
    ("the data: URI does not begin like data:image/png;base64,", "data:image/png;base64"),
    ("it contains no bytes", "data:;base64,"),
    ("it ends with too much padding (=)", "=="),
]


@pytest.mark.parametrize(
    ("field", "value", "must_be"),
    [(field, value, must_be) for field, must_be, values in BAD for value in values],
)
def test_every_bad_value_is_rejected_with_the_valid_values(
    field: str, value: object, must_be: str
) -> None:
    assert errors({**INPAINT_BODY, field: value}) == {
        field: [f"The {field} field must be {must_be}."]
    }


@pytest.mark.parametrize(("problem", "sent"), BAD_BASE64)
def test_text_that_is_not_base64_is_rejected_with_the_problem(problem: str, sent: str) -> None:
    assert errors({**INPAINT_BODY, "mask_image": sent}) == {
        "mask_image": [f"The mask_image field must be {IMAGE_FORMS}: {problem}."]
    }


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "track_id"])
def test_the_character_nul_is_rejected(field: str) -> None:
    rejected = f"The {field} field must not contain a NUL character (U+0000)."
    assert errors({**INPAINT_BODY, field: "a\x00b"}) == {field: [rejected]}


@pytest.mark.parametrize("field", ["prompt", "init_image", "mask_image"])
@pytest.mark.parametrize("nothing", [None, "", "null", b"", " ", "\r\n\t "])
def test_a_missing_required_field_is_reported(field: str, nothing: object) -> None:
    result = {field: [f"The {field} field is required."]}
    assert errors({**INPAINT_BODY, field: nothing}) == result
    assert errors({name: value for name, value in INPAINT_BODY.items() if name != field}) == result


def test_all_bad_fields_are_named_at_once() -> None:
    result = errors({"width": "x", "init_image": "http://10.0.0.1/", "samples": 9})
    assert set(result) == {"prompt", "mask_image", "width", "init_image", "samples"}


@pytest.mark.parametrize(
    ("field", "value", "must_be"),
    [
        *[
            (name, "yes", f'"no" or left out: {UNSUPPORTED}')
            for name in ("multi_lingual", "panorama", "self_attention", "upscale")
        ],
        ("embeddings_model", "style", f"left out: {UNSUPPORTED}"),
        ("safety_checker", "yes", '"no" because the model plain has no safety checker'),
    ],
)
def test_an_unsupported_switch_is_rejected_when_on(field: str, value: str, must_be: str) -> None:
    result = errors({**TEXT2IMG_BODY, field: value}, TextToImageBody)
    assert result == {field: [f"The {field} field must be {must_be}."]}
    off = None if field == "embeddings_model" else "no"
    assert read({**TEXT2IMG_BODY, field: off}, TextToImageBody).prompt == TEXT2IMG_BODY["prompt"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"width": 256, "height": 256}, set()),
        ({"width": 1024, "height": 64}, set()),
        ({"width": 264, "height": 256}, {"height"}),
        ({}, {"height"}),  # the default is too large as well
        ({"height": 128}, set()),
        ({"height": 136}, {"height"}),
        ({"width": 5}, {"width"}),
        ({"width": 1024, "height": 5}, {"height"}),
    ],
)
def test_the_product_of_width_and_height_is_checked_against_the_plan(
    fields: dict[str, int], wrong: set[str]
) -> None:
    limits = Limits(max_pixels=256 * 256)
    if wrong:
        assert set(errors({**INPAINT_BODY, **fields}, limits=limits)) == wrong
    else:
        assert read({**INPAINT_BODY, **fields}, limits=limits).width == fields.get("width", 512)


@pytest.mark.parametrize("steps", [None, 21, "16"])
def test_default_steps_are_checked_against_the_plan(steps: object) -> None:
    limits = Limits(max_inference_steps=15)
    result = errors({**INPAINT_BODY, "num_inference_steps": steps}, limits=limits)
    must_be = "a whole number from 1 to 15 on your plan"
    assert result == {"num_inference_steps": [f"The num_inference_steps field must be {must_be}."]}
    assert (
        read({**INPAINT_BODY, "num_inference_steps": 15}, limits=limits).num_inference_steps == 15
    )


def test_the_safety_checker_of_a_model_can_be_switched_on() -> None:
    checking = model(safety_checker=True)
    assert (
        read({**INPAINT_BODY, "safety_checker": "yes"}, InpaintBody, checking).safety_checker
        is True
    )
    assert read(INPAINT_BODY, InpaintBody, checking).safety_checker is False


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("Yes", True), ("no", False)])
@pytest.mark.parametrize("field", ["base64_", "enhance_prompt"])
def test_switches_are_read_from_text(field: str, text: str, value: object) -> None:
    assert getattr(read({**INPAINT_BODY, field.removesuffix("_"): text}), field) is value


@pytest.mark.parametrize("value", [True, "true", "True", False, "false"])
def test_switches_are_read_from_booleans(value: object) -> None:
    read_one = read({**INPAINT_BODY, "enhance_prompt": value})
    assert read_one.enhance_prompt is (str(value).lower() == "true")


def test_numbers_are_read_from_text_and_nulls_are_defaults() -> None:
    body = read(
        {
            **INPAINT_BODY,
            "width": "64",
            "height": 1024,
            "samples": "4",
            "num_inference_steps": "",
            "guidance_scale": "null",
            "strength": "1.0",
            "seed": "4294967295",
            "negative_prompt": None,
            "unknown": object(),
        }
    )
    assert (body.width, body.height, body.samples) == (64, 1024, 4)
    assert (body.num_inference_steps, body.guidance_scale) == (21, 7.5)
    assert (body.strength_used, body.seed, body.negative_prompt) == (1.0, 4294967295, None)


@pytest.mark.parametrize("track_id", ["42", 42, -1.5, " spaced ", "x" * 1000, 2**63 - 1])
def test_a_track_id_keeps_its_type_and_value(track_id: object) -> None:
    kept = read({**INPAINT_BODY, "track_id": track_id}).track_id
    assert kept == track_id
    assert type(kept) is type(track_id)


@pytest.mark.parametrize(
    "sent",
    [
        SENT,
        f"data:image/png;base64,{SENT}",
        f"DATA:image/PNG;Base64,{SENT}",
        f" \r\ndata:image/png; base64 , {SENT}\n",
        f"{SENT[:4]}\r\n{SENT[4:]}\n",
        f" {SENT[:7]} \t{SENT[7:]} ",
        SENT.rstrip("="),
        PIXELS,
    ],
)
def test_images_may_be_sent_as_bytes_or_base64(sent: object) -> None:
    body = read({**IMG2IMG_BODY, "init_image": sent}, ImageToImageBody)
    assert body.images == {"init_image": PIXELS}


@pytest.mark.parametrize("seed", [-1, "-1", " -1\n", -1.0, None, "", "null"])
def test_a_seed_of_minus_one_means_none(seed: object) -> None:
    assert read({**TEXT2IMG_BODY, "seed": seed}, TextToImageBody).seed is None


@pytest.mark.parametrize("sent", [f" {IMAGE_URL}", f"{IMAGE_URL}\r\n", f"\t{' ' * 20}{IMAGE_URL} "])
def test_white_space_around_a_url_is_removed(sent: str) -> None:
    body = read({**IMG2IMG_BODY, "init_image": sent, "webhook": sent}, ImageToImageBody)
    assert (body.images, body.webhook) == ({"init_image": IMAGE_URL}, IMAGE_URL)


def test_images_may_be_sent_in_the_url_safe_alphabet_of_base64() -> None:
    body = read({**IMG2IMG_BODY, "init_image": "--__AA"}, ImageToImageBody)
    assert body.images == {"init_image": base64.b64decode("++//AA==")}


@pytest.mark.parametrize("sent", [base64.b64encode(b"x" * 101).decode(), b"x" * 101])
def test_images_that_are_too_large_are_rejected(sent: object) -> None:
    assert errors({**INPAINT_BODY, "mask_image": sent}) == {
        "mask_image": ["The mask_image field is too large: at most 100 bytes are accepted."]
    }


def test_text2img_has_no_images_and_full_strength() -> None:
    body = read({"prompt": "  a cat "}, TextToImageBody)
    assert (body.prompt, body.images, body.strength_used) == ("a cat", {}, 1.0)
