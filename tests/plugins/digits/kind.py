"""A kind of stream: the bytes of texts. Checks import this file, so it must not import torch."""

from registry import Kind

BYTES = Kind(
    "bytes",
    "Bytes of texts and their lengths: bytes B L.",
    torch_half="digits.kind_values:ByteValues",
    has_mask=True,
    blank_length=4,
)
