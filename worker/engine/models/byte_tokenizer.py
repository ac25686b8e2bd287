"""A CLIP tokenizer whose tokens are single bytes; accepts any text, works without a download."""

from typing import Final

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
MAX_TOKENS: Final = 77  # as in Stable Diffusion


def byte_vocabulary() -> dict[str, int]:
    """Return the id of each token: every byte, every byte as the end of a word, start, and end."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), START, END]
    return {token: index for index, token in enumerate(tokens)}


def byte_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer of single bytes; longer texts are cut at `MAX_TOKENS` tokens."""
    return CLIPTokenizer(vocab=byte_vocabulary(), merges=[], model_max_length=MAX_TOKENS)
