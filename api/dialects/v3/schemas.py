"""Schemas of the request bodies of the three endpoints that generate images."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.body.receiving.spool import LongValue
from api.dialects.v3.fields import (
    Guidance,
    Height,
    Image,
    OptionalSeed,
    OptionalText,
    OptionalTrackId,
    OptionalWebhook,
    Priority,
    Samples,
    Side,
    Text,
    UnsupportedName,
    UnsupportedSwitch,
    YesNo,
)
from api.dialects.v3.generation_fields import (
    Blur,
    Grow,
    OptionalModel,
    OptionalPadding,
    OptionalScheduler,
    Safety,
    Steps,
    Strength,
)
from api.dialects.v3.validation import WHOLE_SENTENCE, ValidationContext
from api.errors.api_error import FieldError, InvalidFieldsError
from common.domain.generation import Endpoint

# Values by which v3 clients mean that a field is not set, besides text of blanks only.
NULLS = (None, "", "null", b"")


class GenerationBody(BaseModel):
    """Fields common to all three endpoints; unknown ones are ignored, since clients send extras."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)

    endpoint: ClassVar[Endpoint]
    image_fields: ClassVar[tuple[str, ...]] = ()
    mask_fields: ClassVar[tuple[str, ...]] = ()

    model_id: OptionalModel = None
    prompt: Text
    negative_prompt: OptionalText = None
    width: Side = 512
    # Defaults, too, are validated against the tenant's limits.
    height: Height = Field(default=512, validate_default=True)
    samples: Samples = 1
    # Before the fields that it restricts: steps and strength.
    scheduler: OptionalScheduler = None
    num_inference_steps: Steps = Field(default=21, validate_default=True)
    safety_checker: Safety = Field(default=False, validate_default=True)
    enhance_prompt: YesNo = True
    guidance_scale: Guidance = 7.5
    base64_: YesNo = Field(default=False, alias="base64")
    seed: OptionalSeed = None
    webhook: OptionalWebhook = None
    track_id: OptionalTrackId = None
    priority: Priority = 0

    @property
    def strength_used(self) -> float:
        """The denoising strength from 0 to 1; always 1 without an initial image."""
        return 1.0

    @property
    def images(self) -> dict[str, str | bytes | LongValue]:
        """The images of the request by field name, each as a URL or as content."""
        return {name: getattr(self, name) for name in self.image_fields}

    @property
    def mask_changes(self) -> dict[str, Any]:
        """The mask options, keyed by the corresponding field names of `GenerationRequest`."""
        return {name: getattr(self, name) for name in self.mask_fields}


class _WithInitImage(GenerationBody):
    init_image: Image
    strength: Strength = 0.7

    @property
    def strength_used(self) -> float:
        """The denoising strength, 0 to 1."""
        return self.strength


class InpaintBody(_WithInitImage):
    """Body of an inpainting request, which repaints the white part of a mask."""

    endpoint = Endpoint.INPAINT
    image_fields = ("init_image", "mask_image")
    mask_fields = ("mask_invert", "mask_grow", "mask_blur", "mask_padding")

    mask_image: Image
    mask_invert: YesNo = False
    mask_grow: Grow = 0
    mask_blur: Blur = 0
    mask_padding: OptionalPadding = None


class ImageToImageBody(_WithInitImage):
    """Body of an image-to-image request, which starts from an initial image."""

    endpoint = Endpoint.IMG2IMG
    image_fields = ("init_image",)


class TextToImageBody(GenerationBody):
    """Body of a text-to-image request, which has a prompt only."""

    endpoint = Endpoint.TEXT2IMG

    multi_lingual: UnsupportedSwitch = False
    panorama: UnsupportedSwitch = False
    self_attention: UnsupportedSwitch = False
    upscale: UnsupportedSwitch = False
    embeddings_model: UnsupportedName = None


def read_body(
    kind: type[GenerationBody], fields: dict[str, Any], context: ValidationContext
) -> GenerationBody:
    """Validate `fields` and return them as a body of type `kind`.

    Raises:
        InvalidFieldsError: at least one field is invalid; the error names every invalid field and
            its valid values.
    """
    present = {name: value for name, value in fields.items() if not _is_null(value)}
    try:
        return kind.model_validate(present, context=context)
    except ValidationError as error:
        raise InvalidFieldsError(_to_field_errors(kind, error)) from error


def _is_null(value: Any) -> bool:
    return value in NULLS or (isinstance(value, str) and value.isspace())


def _to_field_errors(kind: type[GenerationBody], error: ValidationError) -> list[FieldError]:
    """Return one `FieldError` per invalid field: the first error that pydantic found in it."""
    rules = {field.alias or name: field.description for name, field in kind.model_fields.items()}
    found: dict[str, FieldError] = {}
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0])
        if problem["type"] == WHOLE_SENTENCE:
            sentence = problem["msg"]
        elif problem["type"] == "missing":
            sentence = f"The {name} field is required."
        else:
            sentence = f"The {name} field must be {rules[name]}."
        found.setdefault(name, FieldError((name,), sentence))
    return list(found.values())
