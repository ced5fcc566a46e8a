"""A folder of images or videos, embedded once, then searched by text or by another file.

from mplug2.index import build, open_index
build(spec, checkpoint, media, out)
for found in open_index(out).text("a red square"): print(found.score, found.name)
"""

from __future__ import annotations

from mplug2.index.builder import Built, build
from mplug2.index.search import Index, SearchHit, open_index

__all__ = ["Built", "Index", "SearchHit", "build", "open_index"]
