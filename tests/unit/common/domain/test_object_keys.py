"""Object keys are parsed into the file prefix of their job, foreign keys into None."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain.generation import ImageFormat
from common.domain.object_keys import (
    MARKER_KEY,
    JobObjects,
    input_key,
    is_orphan,
    list_possible_result_keys,
    parse_file_prefix,
    result_key,
    tenant_prefix,
)
from tests.support.generation_request import FILE_PREFIX

KEY = result_key(4, FILE_PREFIX, 2, 0)
NUMBERS = st.integers(min_value=1, max_value=2**63 - 1)


@given(NUMBERS, st.uuids(), NUMBERS, st.integers(min_value=0, max_value=99))
def test_the_file_prefix_is_parsed_from_a_result_key(
    tenant: int, prefix: UUID, attempt: int, index: int
) -> None:
    for image_format in ImageFormat:
        key = result_key(tenant, prefix, attempt, index, image_format)
        assert parse_file_prefix(key) == prefix


@given(NUMBERS, st.uuids(), st.sampled_from(["init_image", "mask_image"]))
def test_the_file_prefix_is_parsed_from_an_input_key(tenant: int, prefix: UUID, field: str) -> None:
    assert parse_file_prefix(input_key(tenant, prefix, field)) == prefix


@given(NUMBERS, NUMBERS, st.uuids())
def test_a_prefix_is_of_one_tenant(one: int, other: int, prefix: UUID) -> None:
    for key in (result_key(one, prefix, 1, 0), input_key(one, prefix, "init_image")):
        assert key.startswith(tenant_prefix(one))
        assert one == other or not key.startswith(tenant_prefix(other))


@given(st.text())
def test_only_keys_that_we_would_write_are_parsed(text: str) -> None:
    """With any text for a part of a key, it is ours only if we would build the same key."""
    for key in (
        text,
        f"4/generations/{FILE_PREFIX}-{text}",
        f"{text}/generations/{FILE_PREFIX}-1-0.png",
        f"4/{text}/{FILE_PREFIX}-1-0.png",
        f"4/generations/{text}-1-0.png",
    ):
        prefix = parse_file_prefix(key)
        if prefix is not None:
            tenant, _, name = key.split("/")
            stem, _, extension = name.rpartition(".")
            attempt, index = stem.split("-")[-2:]
            image_format = ImageFormat(extension)
            assert key == result_key(int(tenant), prefix, int(attempt), int(index), image_format)


@pytest.mark.parametrize(
    "key",
    [
        "",
        MARKER_KEY,
        "backups/postgres.dump",
        f"infill/{KEY}",
        f"/{KEY}",
        f"{KEY}\n",
        f"{KEY}.bak",
        KEY.upper(),
        KEY.replace("4/", "04/"),
        KEY.replace("4/", "٤/"),
        KEY.replace("-2-", "-02-"),
        KEY.replace("-2-", "-"),
        KEY.replace("-0.png", "-00.png"),
        KEY.replace("generations", "inputs"),
        KEY.replace(str(FILE_PREFIX), FILE_PREFIX.hex),
        KEY.replace("generations", "previews"),
        f"4/inputs/{FILE_PREFIX}",
        f"4/inputs/{FILE_PREFIX}-",
        f"4/inputs/{FILE_PREFIX}-mask_image/x",
    ],
)
def test_anything_else_is_foreign(key: str) -> None:
    assert parse_file_prefix(key) is None


@pytest.mark.parametrize(
    ("job", "orphan"),
    [
        (None, True),
        (JobObjects(ended=True, named=frozenset({KEY})), False),
        (JobObjects(ended=True, named=frozenset({KEY + "x"})), True),
        (JobObjects(ended=True, named=frozenset()), True),
        (JobObjects(ended=False, named=frozenset()), False),
        (JobObjects(ended=False, named=frozenset({KEY})), False),
    ],
)
def test_an_object_that_its_ended_or_missing_job_does_not_name_is_an_orphan(
    job: JobObjects | None, *, orphan: bool
) -> None:
    assert is_orphan(KEY, job) is orphan


def test_every_attempt_may_have_left_every_image() -> None:
    assert list_possible_result_keys(4, FILE_PREFIX, attempts=2, samples=2) == {
        result_key(4, FILE_PREFIX, attempt, index) for attempt in (1, 2) for index in (0, 1)
    }
    assert list_possible_result_keys(4, FILE_PREFIX, attempts=0, samples=4) == frozenset()
