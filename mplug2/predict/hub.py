"""The Hugging Face hub, or a server with its HTTP API (HF_ENDPOINT): shared networks come and go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mplug2.predict.shared_folder import MAX_MANIFEST_BYTES, file_sizes
from mplug2.runtime.manifest import MANIFEST
from registry import UserError

PREFIX = "hf://"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,99}")


def parse_name(name: str) -> tuple[str, str]:
    """Return the repository and the revision of ``hf://owner/name`` or ``hf://owner/name@revision``."""
    repository, at, revision = name.removeprefix(PREFIX).partition("@")
    valid = bool(_NAME.fullmatch(repository)) and ".." not in repository
    if at:
        valid = valid and bool(_REVISION.fullmatch(revision)) and ".." not in revision
    if not valid:
        raise UserError(
            f"a network of the hub must be {PREFIX}owner/name or {PREFIX}owner/name@revision (got '{name}')"
        )
    return repository, revision or "main"


def fetch(name: str) -> Path:
    """Return the folder of a shared network of the hub, downloaded or from the cache.

    All files are of one commit. Those that its manifest lists are downloaded, each only if the hub has the
    size that the manifest lists. UserError for what cannot be had, or is not a shared network.
    """
    repository, revision = parse_name(name)
    with _in_words(name):
        manifest = _download(repository, MANIFEST, revision, None)
        # The cache has a folder for each commit: a branch that moves now cannot mix two of them.
        commit = manifest.parent.name
        for file, size in file_sizes(manifest).items():
            _download(repository, file, commit, size)
    return manifest.parent


def upload(folder: Path, repository: str, *, private: bool) -> str:
    """Create a repository of the hub if it does not exist, and commit a folder; return its address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    parse_name(repository)
    api = HfApi(endpoint=_endpoint(), library_name="mplug2")
    with _in_words(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        # One commit: at no time are there new weights with an old spec.
        files = sorted(folder.iterdir())
        operations = [CommitOperationAdd(file.name, file) for file in files]
        message = "Upload by mplug2 push"
        api.create_commit(repository, operations, commit_message=message)
    return f"{api.endpoint}/{repository}"


def _endpoint() -> str | None:
    # huggingface_hub reads it once, when it is imported.
    return os.environ.get("HF_ENDPOINT") or None


def _download(repository: str, file: str, revision: str, size: int | None) -> Path:
    """Return a file of the cache, downloaded if it is not there and has ``size`` bytes on the hub.

    Without ``size`` it may have as many as a manifest.
    """
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    if size is not None:
        cached = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(cached, str) and os.path.getsize(cached) == size:
            return Path(cached)
    endpoint = _endpoint()
    url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint)
    offered = get_hf_file_metadata(url, endpoint=endpoint).size
    if size is None and (offered is None or offered > MAX_MANIFEST_BYTES):
        raise UserError(
            f"{url} must have at most {MAX_MANIFEST_BYTES} bytes (got {offered})"
        )
    if size is not None and offered != size:
        raise UserError(
            f"{url} must have {size} bytes by its manifest, but has {offered}"
        )
    path = hf_hub_download(repository, file, revision=revision, endpoint=endpoint)
    return Path(path)


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Turn what the client of the hub raises into a sentence for the user."""
    try:
        yield
    except UserError:
        raise
    # Its HTTP errors are OSErrors; those of connections are of the HTTP library that it has.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{name}: the hub cannot be used ({type(error).__name__}: {reason}). Check the name, the network, "
            "HF_ENDPOINT, and for private repositories `hf auth login`"
        ) from None
