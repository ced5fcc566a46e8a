"""Media of a call in Python: paths, and what takes their place in memory."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from mplug2.data.media.image import FORMATS
from mplug2.data.media.image import MAX_BYTES as MAX_IMAGE_BYTES
from mplug2.data.media.pixel_file import LAYOUTS, PixelFile, check_layout
from mplug2.data.packed_file import MAX_BYTES, PackedFile, PackedFileError
from registry.errors import UserError

Media = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | np.ndarray
    | Tensor
)
# One, a list of them, or a list of pairs.
MediaOrList = Media | Iterable[Media] | Iterable[Iterable[Media]]
MediaKind = Literal["image", "video"]
MAX_CALL_BYTES = 2 << 30  # of all file objects of a call, which are read into memory
_CHUNK = 1 << 20
_BYTES = (bytes, bytearray, memoryview)


@dataclass(frozen=True, eq=False)
class FileContent:
    """The bytes of one file in memory, as the archive of a `PackedFile`."""

    content: bytes
    address: str = "memory"
    num_files: int = 1

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on."""
        return self.content[offset : offset + size]


@dataclass
class MediaValues:
    """The media of one call: `names` gives what is in memory a name, as a path has one.

    ``files``: what is in memory, by its name, such as ``<ndarray 1>``. ``num_bytes``: the size of all file
    objects that were read. File objects are read when they are named.
    """

    kind: MediaKind
    files: dict[str, PackedFile | PixelFile] = field(default_factory=dict)
    num_bytes: int = 0

    def names(self, value: Any) -> Any:
        """Return paths as texts and names of what is in memory, in the lists that hold them.

        Raises UserError for other values, and for arrays of another layout.
        """
        if isinstance(value, (str, os.PathLike)):
            path = os.fspath(value)
            if isinstance(path, str):
                # A file whose name begins like those of `files` must not be taken for one of them.
                return f"./{path}" if path.startswith("<") else path
        elif isinstance(value, _BYTES):
            return self._add_bytes(value, bytes(value))
        elif isinstance(value, (np.ndarray, Tensor)):
            return self._add_array(value)
        elif isinstance(value, Image.Image):
            return self._add_picture(value)
        elif hasattr(value, "read"):
            return self._add_bytes(value, self._read(value))
        elif isinstance(value, Iterable) and not isinstance(value, Mapping):
            return [self.names(entry) for entry in value]
        raise UserError(
            f"{self._article} must be a path, bytes, a file object, {self._pixels} "
            f"(got {type(value).__name__} {reprlib.repr(value)}). Give one of these, or a list of them"
        )

    @property
    def _article(self) -> str:
        return "an image" if self.kind == "image" else "a video"

    @property
    def _pixels(self) -> str:
        pillow = "an image of Pillow, " if self.kind == "image" else ""
        return f"{pillow}{LAYOUTS[self.kind]}"

    def _new_name(self, value: Any) -> str:
        return f"<{type(value).__name__} {len(self.files) + 1}>"

    def _add_bytes(self, value: Any, content: bytes) -> str:
        name = self._new_name(value)
        self.files[name] = PackedFile(FileContent(content), name, 0, len(content))
        return name

    def _add_array(self, value: np.ndarray | Tensor) -> str:
        name = self._new_name(value)
        problem = check_layout(value, self.kind)
        if problem is not None:
            raise UserError(
                f"{name}: {self._article} must be {problem}{self._hint(value)}"
            )
        self.files[name] = PixelFile(name, value)
        return name

    def _hint(self, value: np.ndarray | Tensor) -> str:
        """Return what a caller with an array of another layout may have meant."""
        shape = tuple(value.shape)
        if self.kind == "image" and len(shape) == 4:
            return ". A batch of images is a list: list(array)"
        if self.kind == "video" and len(shape) == 3:
            return ". A video has an axis of frames before the others"
        if len(shape) < 3:
            return ""
        # NumPy has colours last, torch has them before height and width.
        is_tensor = isinstance(value, Tensor)
        if shape[-1 if is_tensor else -3] == 3:
            last = len(shape) - 1
            axes = (
                (last, last - 2, last - 1) if is_tensor else (last - 1, last, last - 2)
            )
            moved = ", ".join(map(str, (*range(last - 2), *axes)))
            method = "permute" if is_tensor else "transpose"
            return f". Move the axis of colours: .{method}({moved})"
        return ""

    def _add_picture(self, value: Image.Image) -> str:
        name = self._new_name(value)
        if self.kind == "video":
            raise UserError(
                f"{name}: a video must be a path, bytes, a file object, {self._pixels} (got an image of "
                "Pillow). Give its frames as one array: numpy.stack(images)"
            )
        # Pillow starts another program for some formats (EPS), when it decodes an image that was opened.
        if value.format is not None and value.format not in FORMATS:
            raise UserError(
                f"{name}: an image of Pillow must have the format {', '.join(FORMATS)} or none (got "
                f"{value.format}). Convert it: image.copy()"
            )
        self.files[name] = PixelFile(name, value)
        return name

    def _read(self, file: Any) -> bytes:
        """Return what a file object holds from its position on, read piece by piece up to the limit."""
        name = self._new_name(file)
        limit = MAX_IMAGE_BYTES if self.kind == "image" else MAX_BYTES
        limit = min(limit, MAX_CALL_BYTES - self.num_bytes)
        content = BytesIO()
        try:
            while piece := file.read(_CHUNK):
                if not isinstance(piece, bytes):
                    raise UserError(
                        f"{name}: a file object must be open in binary mode (got {type(piece).__name__}). "
                        "Open it with open(path, 'rb')"
                    )
                if content.tell() + len(piece) > limit:
                    raise PackedFileError(
                        f"{name} has more than {limit} bytes, which are not read into memory. Give its path"
                    )
                content.write(piece)
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            raise UserError(f"{name} cannot be read ({error})") from None
        self.num_bytes += content.tell()
        return content.getvalue()


def is_lazy(value: Any) -> bool:
    """Return whether results are to come one after another: for iterators, but not for lists."""
    return isinstance(value, Iterator) and not hasattr(value, "read")
