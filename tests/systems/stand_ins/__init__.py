"""Small parts of other packages that the specs of `tests/systems` name: modules, operations and tasks.

Each has the ports of the part that a paper describes, and computes something simple of the same shape.
"""

from __future__ import annotations

from registry import MODULES, OPERATIONS, TASKS

NAMES = {
    MODULES: {
        "masked_lm_head": "modules:MaskedLMHead",
    },
    OPERATIONS: {
        "region_masking": "masking:region_masking",
        "word_masking": "masking:word_masking",
    },
    TASKS: {
        "document_lines": "tasks:DocumentLines",
        "region_caption": "tasks:RegionCaption",
    },
}


def register() -> None:
    """Add all names to the registries, as the entry points of a package do."""
    for table, names in NAMES.items():
        for name, target in names.items():
            table.register(name, f"stand_ins.{target}")
