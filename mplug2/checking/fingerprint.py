"""A hash of everything that a dry run and the check of vocabularies depend on: the network of a spec, its
vocabularies, and the code that builds it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping

from registry import MODULES, OPERATIONS, Spec, StreamType
from registry.language.locate import source_file
from registry.tokenizer_names import tokenizer_places
from registry.user_cache import file_state

SECTIONS = ("inputs", "modules", "flow", "goals", "momentum", "freeze", "adapt", "tie")
PACKAGES = ("registry", "modules", "mplug2")  # Their sources build every network.
LIBRARIES = ("torch", "timm", "transformers", "einops", "tokenizers")
MOST_FILES = 5000  # of a plug-in: a larger package is not worth reading


def fingerprint(spec: Spec, types: Mapping[str, StreamType]) -> str | None:
    """Return the hash of a spec's network and of the code behind it; None if some code has no file.

    Sources count by path, size and time of change, libraries by the file that has their version. Settings
    that a dry run does not read (`train.output_dir`, files of data) do not count, but vocabularies do.
    """
    resolved = spec.resolved()
    network = {name: resolved[name] for name in SECTIONS if name in resolved}
    # Sizes that are left out in the spec follow from its wiring or its labels.
    network["types"] = {name: str(stream) for name, stream in types.items()}
    network["rates"] = [spec.train["lr"], spec.train["no_decay"]]
    digest = hashlib.sha256(json.dumps(network, default=str).encode())
    digest.update(sys.version.encode())
    for name in tokenizer_places(spec):
        digest.update(_vocabulary_state(name).encode())
    packages = _code_of(spec)
    if packages is None:
        return None
    for folder in sorted(packages):
        files = list(_sources(folder))
        if len(files) > MOST_FILES:
            return None
        for file in files:
            digest.update(file_state(file).encode())
    for library in LIBRARIES:
        digest.update(_library(library).encode())
    return digest.hexdigest()


def _code_of(spec: Spec) -> set[str] | None:
    """Return the folders (or single files) of all code that a spec uses; None if some has no file."""
    targets = [MODULES.target(entry.use) for entry in spec.modules.values()]
    for equation in spec.flow.values():
        if equation.callee not in spec.modules:
            targets.append(OPERATIONS.target(equation.callee))
    tops = {
        *PACKAGES,
        *(target.partition(":")[0].partition(".")[0] for target in targets),
    }
    folders: set[str] = set()
    for top in tops:
        file = getattr(sys.modules.get(top), "__file__", None) or source_file(top)
        if file is None or not os.path.isfile(file):
            return None
        is_package = os.path.basename(file) == "__init__.py"
        folders.add(os.path.dirname(file) if is_package else file)
    return folders


def _sources(folder: str) -> Iterator[str]:
    """Yield the Python files of a package, sorted; a single file is itself."""
    if os.path.isfile(folder):
        yield folder
        return
    for parent, children, names in os.walk(folder):
        children.sort()
        yield from _python_files(parent, names)


def _python_files(parent: str, names: Iterable[str]) -> list[str]:
    return [
        os.path.join(parent, name) for name in sorted(names) if name.endswith(".py")
    ]


def _vocabulary_state(name: str) -> str:
    """Return the state of the file, or of the files in the folder, of a vocabulary; its name without one."""
    if not os.path.exists(name):
        return name
    if not os.path.isdir(name):
        return file_state(name)
    files = sorted(entry.path for entry in os.scandir(name) if entry.is_file())
    return "\n".join(map(file_state, files))


def _library(name: str) -> str:
    """Return the state of the file that has the version of a library; '' if it is not installed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        return ""
    version = os.path.join(os.path.dirname(found.origin), "version.py")
    return file_state(version if os.path.isfile(version) else found.origin)
