"""What mplug2 is called, what it needs, which command it installs; pyproject.toml configures the tools."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


def version() -> str:
    """The version as written in mplug2/__init__.py, read without importing it."""
    text = (HERE / "mplug2" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('mplug2/__init__.py must hold a line __version__ = "..."')
    return found.group(1)


def readme() -> str:
    """The text for the package page, empty where only the packages were copied."""
    path = HERE / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


REQUIRES = [
    # The caps are measured: an open range lets torchvision and timm pull the next torch with 3 GB of CUDA.
    "torch>=2.6,<2.14",
    "torchvision>=0.21,<0.29",  # timm imports it
    "timm>=1.0.20,<2",
    "transformers>=5,<6",
    "deepspeed>=0.19.8,<0.20",  # ZeRO stage 2 of 0.17 and 0.18 is wrong or fails
    "ruamel.yaml>=0.18,<0.20",
    "av>=14",
    "numpy>=1.26,<3",
    "pillow>=10.1",
    "einops>=0.8,<1",
    "jaxtyping>=0.2.36",
    "safetensors>=0.4.5",
    "pycocoevalcap>=1.2,<2",
    "tensorboard>=2.16",
    "matplotlib>=3.8",
    "typer>=0.15",
    "rich>=13.7",
]

EXTRAS = {
    "regions": [
        "h5py>=3.8",
        "lmdb>=1.4",
        "lz4>=4",
        "msgpack>=1",
    ],  # features of image regions in HDF5 and LMDB
    "arrow": ["pyarrow>=14"],  # the tables of ViLT and VLMo
    "object_store": [
        "s3fs>=2024.6"
    ],  # shards at s3:// addresses; fsspec names what others need
    "clip": ["ftfy>=6.1", "regex>=2023.8"],  # CLIP's tokenizer
    "trackio": ["trackio>=0.5"],  # optional loggers
    "wandb": ["wandb>=0.17"],
    "decord": [
        "decord>=0.6,<0.7"
    ],  # the optional fast video reader: wheels for x86-64 Linux, macOS and Windows only
    "export": [
        "onnx>=1.19",
        "onnxscript>=0.5",
        "onnxruntime>=1.22",
    ],  # mplug2 export --to onnx
    "heif": ["pillow-heif>=1,<2"],  # images of phones (HEIC)
    "dev": [
        "pytest>=8.2",
        "pytest-xdist>=3.6",
        "hypothesis>=6.100",
        "beartype>=0.18",
        "ruff>=0.8",
        "mypy>=1.13",
        "jsonschema>=4.21",
        "pyarrow>=14",  # so that the tests read tables
        "ftfy>=6.1",  # so that the tests compare CLIP's tokenizer with every recorded text
    ],
}


class BuildWithSpecs(build_py):
    """Also put the specs into the package, where an installed mplug2 finds them by name."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # an editable install finds those of the checkout
            return
        for folder in sorted(HERE.glob("configs_*")):
            self.copy_tree(
                str(folder), str(Path(self.build_lib, "mplug2", "specs", folder.name))
            )


setup(
    name="mplug2",
    version=version(),
    description="A modular multi-modal framework: one YAML file composes networks for text, image and video.",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # package_dir {"": "."} makes an editable install one line in a .pth file, which type checkers follow.
    package_dir={"": "."},
    packages=find_packages(
        include=["registry", "registry.*", "modules", "modules.*", "mplug2", "mplug2.*"]
    ),
    package_data={"": ["py.typed", "*.txt", "*.json", "*.yaml"]},
    cmdclass={"build_py": BuildWithSpecs},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["mplug2 = mplug2.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Intended Audience :: Science/Research",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
