"""Field types of v3 request bodies.

Each type's description completes the error sentence "The … field must be"; callers see it in errors
and in the interactive documentation.
"""

from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
)

from api.body.formats.base64_images import decode_base64
from api.body.formats.form_fields import FormText
from api.body.receiving.spool import LongValue
from api.dialects.v3.validation import field_error, validation_context
from common.domain.errors import AddressNotAllowedError
from common.domain.generation import SEED_LIMIT
from common.domain.job import HIGHEST_PRIORITY, LOWEST_PRIORITY
from common.domain.record import MAX_TRACK_ID, is_track_id

MAX_TEXT: Final = 2000
IMAGE_FORMS: Final = "an http or https URL, an image file as base64 text, or a base64 data: URI"
_RANDOM_SEED: Final = -1
_UNSUPPORTED: Final = "this service does not support it"


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")  # noqa: TRY004 - pydantic reports ValueErrors only
    return value


def _no_nul(value: str, info: ValidationInfo) -> str:
    # Postgres can store this character neither in text nor in JSON.
    if "\x00" in value:
        raise field_error(f"The {info.field_name} field must not contain a NUL character (U+0000).")
    return value


def _seed(value: int) -> int | None:
    """Return None for -1, which many programs send to request a random seed; else the value."""
    return None if value == _RANDOM_SEED else value


def _track_id(value: Any, info: ValidationInfo) -> str | float:
    if isinstance(value, str):
        _no_nul(value, info)
    if not is_track_id(value):
        raise ValueError("not a track id")
    return value  # type: ignore[no-any-return] # checked above


def _webhook(value: str, info: ValidationInfo) -> str:
    _check_address(value, info, webhook=True)
    return value


def _image(value: Any, info: ValidationInfo) -> str | bytes | LongValue:
    if isinstance(value, str) and "://" in value.lstrip()[:16]:
        url = value.strip()
        _check_address(url, info, webhook=False)
        return url
    image = _decode_image(value, info)
    limit = validation_context(info).image_max_bytes
    if (image.length if isinstance(image, LongValue) else len(image)) > limit:
        raise field_error(
            f"The {info.field_name} field is too large: at most {limit} bytes are accepted."
        )
    return image


def _decode_image(value: Any, info: ValidationInfo) -> bytes | LongValue:
    """Return the content of a file, or of base64 text; of a long value, leave it in its spool."""
    if isinstance(value, bytes) or (isinstance(value, LongValue) and value.is_file):
        return value
    limit = validation_context(info).image_max_bytes
    try:
        if isinstance(value, LongValue):
            start = value.spool.size
            length = decode_base64(value.blocks(), value.spool.append, max_bytes=limit)
            return LongValue(value.spool, start, length, is_file=True)
        text = value.base64_text if isinstance(value, FormText) else value
        image = bytearray()
        decode_base64([text.encode()], image.extend, max_bytes=limit)
        return bytes(image)
    except AttributeError:  # a number, a list or an object
        raise ValueError("not an image") from None
    except ValueError as error:
        raise field_error(f"The {info.field_name} field must be {IMAGE_FORMS}: {error}.") from error


def _check_address(url: str, info: ValidationInfo, *, webhook: bool) -> None:
    try:
        validation_context(info).guard.check(url, webhook=webhook)
    except AddressNotAllowedError as error:
        raise field_error(
            f"The {info.field_name} field must be an http or https URL with a public host: "
            f"{error.message}."
        ) from error


def _height(value: int, info: ValidationInfo) -> int:
    width = info.data.get("width")  # missing if the width is invalid itself
    most = validation_context(info).limits.max_pixels
    if most is not None and width is not None and width * value > most:
        raise field_error(
            f"Your plan allows at most {most} pixels (width × height); "
            f"{width} × {value} is {width * value}."
        )
    return value


def _unsupported(value: bool | str, info: ValidationInfo) -> bool | str:  # noqa: FBT001 - a validator's signature
    if value:
        off = '"no" or left out' if value is True else "left out"
        raise field_error(f"The {info.field_name} field must be {off}: {_UNSUPPORTED}.")
    return value


NoBool: Final = BeforeValidator(_no_bool)

Text = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TEXT,
        description=f"text of 1 to {MAX_TEXT} characters",
    ),
    AfterValidator(_no_nul),
]
# Limits come first: behind a validator, the JSON schema would not show them.
Side = Annotated[
    int,
    Field(ge=64, le=1024, multiple_of=8, description="a multiple of 8 from 64 to 1024"),
    NoBool,
]
# Validated together with the width, which comes before it.
Height = Annotated[Side, AfterValidator(_height)]
Samples = Annotated[int, Field(ge=1, le=4, description="a whole number from 1 to 4"), NoBool]
Priority = Annotated[
    int,
    Field(
        ge=LOWEST_PRIORITY,
        le=HIGHEST_PRIORITY,
        description=f"a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}",
    ),
    NoBool,
]
Guidance = Annotated[
    float, Field(ge=1, le=20, allow_inf_nan=False, description="a number from 1 to 20"), NoBool
]
YesNo = Annotated[bool, Field(description="yes or no")]
UnsupportedSwitch = Annotated[YesNo, AfterValidator(_unsupported)]
Image = Annotated[
    str | bytes | LongValue,
    PlainValidator(_image, json_schema_input_type=str),
    Field(description=IMAGE_FORMS),
]

# Null is removed before validation, so these validators never see it.
OptionalText = Annotated[
    Text | None,
    Field(description=f"null or text of 1 to {MAX_TEXT} characters"),
]
OptionalSeed = Annotated[
    Annotated[int, Field(ge=_RANDOM_SEED, lt=SEED_LIMIT), NoBool, AfterValidator(_seed)] | None,
    Field(description=f"null, -1 or a whole number from 0 to {SEED_LIMIT - 1}"),
]
OptionalWebhook = Annotated[
    Annotated[str, AfterValidator(_webhook)] | None,
    Field(description="null or an http or https URL with a public host"),
]
OptionalTrackId = Annotated[
    Annotated[str | float, PlainValidator(_track_id, json_schema_input_type=str | float)] | None,
    Field(
        description=f"null, text of at most {MAX_TRACK_ID} characters, "
        "or a number between -2^63 and 2^63"
    ),
]
UnsupportedName = Annotated[
    Annotated[str, AfterValidator(_unsupported)] | None,
    Field(description=f"null or left out: {_UNSUPPORTED}"),
]
