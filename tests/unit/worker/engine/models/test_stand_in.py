"""Stand-ins are built once, completely, and the same everywhere."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.domain.errors import ConfigurationError
from worker.engine.models.byte_tokenizer import MAX_TOKENS, byte_tokenizer, byte_vocabulary
from worker.engine.models.stand_in import stand_in_folder


def weights(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.safetensors")
    }


@pytest.mark.parametrize("kind", ["base", "inpainting"])
def test_a_stand_in_is_reproducible_and_in_diffusers_layout(kind: str, tmp_path: Path) -> None:
    one, other = (stand_in_folder(kind, tmp_path / name / "models") for name in ("one", "other"))
    assert weights(one) == weights(other)
    assert len(weights(one)) == 3  # autoencoder, text encoder, UNet
    assert (one / "model_index.json").is_file()
    assert sum(path.stat().st_size for path in one.rglob("*")) < 2_000_000


def test_a_stand_in_is_built_once(tmp_path: Path) -> None:
    folder = stand_in_folder("base", tmp_path)
    before = (folder / "model_index.json").stat()
    assert stand_in_folder("base", tmp_path) == folder
    assert (folder / "model_index.json").stat() == before


def test_concurrent_builds_leave_one_stand_in(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        folders = set(threads.map(lambda _: stand_in_folder("inpainting", tmp_path), range(3)))
    assert folders == set(tmp_path.iterdir())  # no incomplete folder is left
    assert len(folders) == 1


def test_building_does_not_change_torch_s_random_state(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    stand_in_folder("base", tmp_path)
    assert torch.rand(1) == expected


def test_an_unknown_kind_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only random:base and random:inpainting"):
        stand_in_folder("video", tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(ConfigurationError, match="point INFILL_MODELS_DIRECTORY to a folder"):
        stand_in_folder("base", tmp_path / "models")


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    folder = stand_in_folder("base", tmp_path / "elsewhere")
    (tmp_path / folder.name).write_text("not a folder")
    with pytest.raises(ConfigurationError, match="cannot be stored"):
        stand_in_folder("base", tmp_path)


TOKENIZER = byte_tokenizer()


@given(st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"])))
def test_any_text_has_tokens(text: str) -> None:
    ids = TOKENIZER(text, truncation=True).input_ids
    first, *middle, last = ids
    ends = len(byte_vocabulary()) - 1
    assert (first, last) == (ends - 1, ends)
    assert ends not in middle  # it is also the token of unknown text
    assert len(ids) <= MAX_TOKENS
