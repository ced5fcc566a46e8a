"""What `mplug2 doctor` looks at: packages, devices, decoders, programs and disk space of this machine."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from registry.user_cache import cache_folder

State = Literal["ok", "note", "missing"]
CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "gif")
PICTURES = {
    "jpg": "JPEG",
    "webp": "WebP",
    "zlib": "PNG",
}  # as Pillow calls its decoders
GIB = 1 << 30
ROOM = (
    10 * GIB
)  # a run of the base network keeps several checkpoints of more than 1 GiB
LEAST_ROOM = GIB
SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED = GIB >> 2  # the default of containers is a quarter of this


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `missing` is what stops commands, `note` what stops some uses."""

    topic: str
    name: str
    state: State
    value: str
    fix: str = ""  # a command, or what to change


def findings() -> list[Finding]:
    """Return all that was found on this machine."""
    result = [
        Finding(
            "packages",
            "python",
            "ok",
            f"{platform.python_version()} ({sys.executable})",
        )
    ]
    try:
        result += packages(metadata.requires("mplug2") or (), metadata.version)
    except metadata.PackageNotFoundError:
        value = "not installed: a checkout runs, but its packages are not compared with what it requires"
        result.append(Finding("packages", "mplug2", "note", value, "pip install -e ."))
    for name, look in (("torch", devices), ("av", decoders), ("PIL", pictures)):
        try:
            result += look()
        except (ImportError, OSError, RuntimeError) as error:
            # Of a library that does not fit this machine.
            value = f"cannot be imported: {str(error).splitlines()[0]}"
            fix = f"pip install --force-reinstall {name}"
            result.append(Finding("packages", name, "missing", value, fix))
    result += programs()
    folders = {
        "run folders": Path.cwd(),
        "cache": cache_folder(""),
        "temporary": Path(tempfile.gettempdir()),
    }
    result += disk(folders)
    result += shared_memory(SHARED_MEMORY)
    return result


def packages(
    requires: Iterable[str], version_of: Callable[[str], str]
) -> Iterator[Finding]:
    """Yield a finding for each required package, and for each one of an extra that is absent.

    ``requires``: requirements as in package metadata. ``version_of`` raises `PackageNotFoundError`.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding(
            "packages", "packaging", "missing", "not installed", "pip install packaging"
        )
        return
    for text in requires:
        requirement = Requirement(text)
        extra = _extra_of(text)
        marker = requirement.marker
        applies = marker is None or marker.evaluate({"extra": extra})
        if extra == "dev" or not applies:
            continue
        # Without an extra only some uses are missing.
        state: State = "note" if extra else "missing"
        install = f"pip install '{requirement.name}{requirement.specifier}'"
        if extra:
            install = f"pip install 'mplug2[{extra}]'"
        try:
            version = version_of(requirement.name)
        except metadata.PackageNotFoundError:
            value = f"not installed (extra '{extra}')" if extra else "not installed"
            yield Finding("packages", requirement.name, state, value, install)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Finding("packages", requirement.name, "ok", version)
        else:
            yield Finding(
                "packages",
                requirement.name,
                state,
                f"{version}, but must be {requirement.specifier}",
                install,
            )


def _extra_of(requirement: str) -> str:
    """Return the extra that a line of package metadata belongs to: `h5py; extra == "regions"`."""
    _, mark, after = requirement.partition("extra ==")
    return after.split("and")[0].strip(" \"')") if mark else ""


def devices() -> Iterator[Finding]:
    """Yield what torch computes on."""
    torch = importlib.import_module("torch")
    yield Finding(
        "devices",
        "CPU",
        "ok",
        f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}",
    )
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        size = f"{properties.total_memory / GIB:.0f} GiB"
        # bf16 is computed by GPUs from compute capability 8.0 (Ampere) on.
        precision = "no bf16: use train.precision=fp16"
        if properties.major >= 8:
            precision = "bf16"
        yield Finding(
            "devices", f"GPU {index}", "ok", f"{properties.name}, {size}, {precision}"
        )
    if torch.cuda.is_available():
        return
    if shutil.which("nvidia-smi") is None:
        yield Finding(
            "devices",
            "GPU",
            "note",
            "none: base and large networks train slowly on a CPU",
        )
        return
    built = "built without CUDA"
    if torch.version.cuda:
        built = f"built for CUDA {torch.version.cuda}"
    fix = "pip install --force-reinstall torch torchvision, from the index that fits your driver: pytorch.org"
    yield Finding(
        "devices",
        "GPU",
        "note",
        f"a driver is installed, but torch ({built}) sees no GPU",
        fix,
    )


def decoders() -> Iterator[Finding]:
    """Yield the video decoders of PyAV, and whether decord is installed."""
    av = importlib.import_module("av")
    absent = [codec for codec in CODECS if codec not in av.codecs_available]
    present = ", ".join(codec for codec in CODECS if codec not in absent)
    yield Finding("decoders", "PyAV", "ok", f"{av.__version__}: {present}")
    if absent:
        fix = "pip install --force-reinstall --only-binary=:all: av"
        yield Finding(
            "decoders", "video", "note", f"PyAV cannot decode {', '.join(absent)}", fix
        )


def pictures() -> Iterator[Finding]:
    """Yield the image formats that Pillow decodes."""
    features = importlib.import_module("PIL.features")
    for feature, name in PICTURES.items():
        if not features.check(feature):
            fix = "pip install --force-reinstall --only-binary=:all: pillow"
            yield Finding("decoders", name, "note", f"Pillow cannot decode {name}", fix)
    present = [name for feature, name in PICTURES.items() if features.check(feature)]
    yield Finding("decoders", "Pillow", "ok", ", ".join(present))


def programs() -> Iterator[Finding]:
    """Yield whether the Java programs of METEOR and SPICE can run."""
    from mplug2.metrics.caption import java

    for metric, require in (
        ("METEOR", lambda: java.require_java("METEOR")),
        ("SPICE", java.require_spice),
    ):
        try:
            require()
        except java.Unavailable as reason:
            is_java = shutil.which("java") is None
            models = "python -m pycocoevalcap.spice.get_stanford_models"
            fix = "apt install default-jre-headless" if is_java else models
            yield Finding("programs", metric, "note", str(reason), fix)
        else:
            yield Finding("programs", metric, "ok", "ready")


def disk(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield the free space for each folder, or for the nearest one above that exists."""
    for name, folder in folders.items():
        candidates = (folder, *folder.absolute().parents)
        existing = next(path for path in candidates if path.is_dir())
        free = shutil.disk_usage(existing).free
        value = f"{free / GIB:.1f} GiB free ({existing})"
        if not os.access(existing, os.W_OK):
            state: State = "note" if name == "cache" else "missing"
            yield Finding(
                "disk",
                name,
                state,
                f"cannot be written ({existing})",
                f"chmod u+w {existing}",
            )
        elif free < ROOM:
            fix = "train in another folder: train.output_dir=FOLDER"
            if name != "run folders":
                fix = "set XDG_CACHE_HOME or TMPDIR to a folder on another disk"
            yield Finding(
                "disk", name, "missing" if free < LEAST_ROOM else "note", value, fix
            )
        else:
            yield Finding("disk", name, "ok", value)


def shared_memory(folder: Path) -> Iterator[Finding]:
    """Yield the size of the memory by which workers hand over samples, where the system has such a folder."""
    if not folder.is_dir():
        return
    total = shutil.disk_usage(folder).total
    value = f"{total / GIB:.2f} GiB ({folder})"
    if total < LEAST_SHARED:
        fix = "start the container with --shm-size=2g, or set data.workers=0"
        yield Finding("disk", "shared memory", "note", value, fix)
    else:
        yield Finding("disk", "shared memory", "ok", value)
