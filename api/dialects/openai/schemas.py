"""Schemas of the request bodies: the parameters of the OpenAI API, and those that Infill adds.

Parts of a multipart body are text, so numbers and switches may be text. Unknown parameters are
ignored, since each release of the clients adds some.
"""

from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from api.errors.api_error import FieldError, InvalidFieldsError
from common.domain.errors import AddressNotAllowedError
from common.domain.generation import SEED_LIMIT, ImageFormat
from common.domain.job import HIGHEST_PRIORITY, LOWEST_PRIORITY
from common.domain.record import MAX_TRACK_ID, is_track_id
from common.domain.schedulers import find_scheduler
from common.outbound import Guard

MAX_PROMPT: Final = 2000
MAX_IMAGES: Final = 10
MAX_PARTIAL_IMAGES: Final = 3
MAX_STEPS: Final = 51
MIN_STRENGTH: Final = 0.02  # of a scheduler with at most 50 steps, at least one runs
_ABSENT: Final = (None, "", b"", "null")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")  # noqa: TRY004 - pydantic reports ValueErrors only
    return value


def _storable(value: str) -> str:
    # Postgres can store neither of them.
    if "\x00" in value or any("\ud800" <= one <= "\udfff" for one in value):
        raise ValueError("not text")
    return value


def _seed(value: int) -> int | None:
    return None if value < 0 else value


def _webhook(value: str, info: ValidationInfo) -> str:
    try:
        cast("Guard", info.context).check(value, webhook=True)
    except AddressNotAllowedError as error:
        raise ValueError(error.message) from error
    return value


def _scheduler(value: str) -> str:
    entry = find_scheduler(value)
    if entry is None:
        raise ValueError("not a scheduler")
    return entry.name


def _track_id(value: str) -> str:
    if not is_track_id(value):
        raise ValueError("not a track id")
    return value


NoBool: Final = BeforeValidator(_no_bool)
Text = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT), AfterValidator(_storable)]
Count = Annotated[int, Field(ge=1, le=MAX_IMAGES), NoBool]
Percent = Annotated[int, Field(ge=0, le=100), NoBool]
PartialImages = Annotated[int, Field(ge=0, le=MAX_PARTIAL_IMAGES), NoBool]
Quality = Literal["low", "medium", "high", "auto", "standard", "hd", "xhigh", "max"]


class GenerationBody(BaseModel):
    """The parameters of `/images/generations`, which edits have, too.

    Each description completes the error sentence "Invalid value for '…': it must be …".
    """

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)

    prompt: Text = Field(description=f"text of 1 to {MAX_PROMPT} characters")
    model: str | None = Field(
        default=None,
        description="text; a name that is not served selects the default model",
    )
    n: Count = Field(default=1, description=f"a whole number from 1 to {MAX_IMAGES}")
    size: str = Field(
        default="auto",
        pattern=r"^(auto|[0-9]{2,4}x[0-9]{2,4})$",
        description="auto, or WIDTHxHEIGHT in pixels",
    )
    quality: Quality = Field(
        default="auto", description="low, medium, high or auto: the number of steps"
    )
    background: Literal["opaque", "auto"] = Field(
        default="auto", description="opaque or auto; transparent is not supported"
    )
    output_format: ImageFormat = Field(default=ImageFormat.PNG, description="png, jpeg or webp")
    output_compression: Percent = Field(
        default=100, description="a whole number from 0 to 100: the quality of jpeg and webp"
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        default=None, description="b64_json or url; responses contain b64_json in any case"
    )
    stream: bool = Field(default=False, description="true or false")
    partial_images: PartialImages = Field(
        default=0, description=f"a whole number from 0 to {MAX_PARTIAL_IMAGES}"
    )
    user: str | None = Field(default=None, description="text; it is ignored")

    seed: Annotated[int, Field(ge=-1, lt=SEED_LIMIT), NoBool, AfterValidator(_seed)] | None = Field(
        default=None, description=f"a whole number from -1 (random) to {SEED_LIMIT - 1}"
    )
    negative_prompt: Text | None = Field(
        default=None, description=f"text of 1 to {MAX_PROMPT} characters"
    )
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_STEPS), NoBool] | None = Field(
        default=None, description=f"a whole number from 1 to {MAX_STEPS}"
    )
    guidance_scale: Annotated[float, Field(ge=1, le=20, allow_inf_nan=False), NoBool] = Field(
        default=7.5, description="a number from 1 to 20"
    )
    scheduler: Annotated[str, AfterValidator(_scheduler)] | None = Field(
        default=None, description="the name of a scheduler"
    )
    safety_checker: bool = Field(default=False, description="true or false")
    lora: Annotated[None, Field()] = Field(
        default=None, description="left out: this service does not support it"
    )
    webhook: Annotated[str, AfterValidator(_webhook)] | None = Field(
        default=None, description="an http or https URL with a public host"
    )
    track_id: Annotated[str, AfterValidator(_track_id)] | None = Field(
        default=None, description=f"text of at most {MAX_TRACK_ID} characters"
    )
    priority: Annotated[int, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY), NoBool] = Field(
        default=0, description=f"a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
    )


class EditBody(GenerationBody):
    """The parameters of `/images/edits`, without the images."""

    input_fidelity: Literal["high", "low"] = Field(
        default="low", description="high or low: how much of the image is kept"
    )
    strength: Annotated[float, Field(ge=MIN_STRENGTH, le=1, allow_inf_nan=False), NoBool] | None = (
        Field(default=None, description=f"a number from {MIN_STRENGTH} to 1")
    )
    mask_invert: bool = Field(default=False, description="true or false")
    mask_grow: Annotated[int, Field(ge=-64, le=64), NoBool] = Field(
        default=0, description="a whole number of pixels from -64 to 64"
    )
    mask_blur: Annotated[int, Field(ge=0, le=64), NoBool] = Field(
        default=0, description="a whole number of pixels from 0 to 64"
    )
    mask_padding: Annotated[int, Field(ge=0, le=256), NoBool] | None = Field(
        default=None, description="a whole number of pixels from 0 to 256"
    )


def read_body(kind: type[GenerationBody], fields: dict[str, Any], guard: Guard) -> GenerationBody:
    """Validate the fields and return them as a body of type `kind`; null means left out.

    Raises:
        InvalidFieldsError: at least one parameter is invalid; the error names every invalid one.
    """
    present = {
        name: value
        for name, value in fields.items()
        if name in kind.model_fields and value not in _ABSENT
    }
    try:
        return kind.model_validate(present, context=guard)
    except ValidationError as error:
        raise InvalidFieldsError(_to_field_errors(kind, error)) from error


def _to_field_errors(kind: type[GenerationBody], error: ValidationError) -> list[FieldError]:
    found: dict[str, FieldError] = {}
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0])
        rule = kind.model_fields[name].description
        sentence = f"Invalid value for '{name}': it must be {rule}."
        if problem["type"] == "missing":
            sentence = f"Missing required parameter: '{name}'."
        found.setdefault(name, FieldError((name,), sentence))
    return list(found.values())
