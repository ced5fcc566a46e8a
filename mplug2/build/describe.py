"""What a spec comes to, as text, for golden files and diffs: the resolved spec, its streams, its weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry import MODULES, SETTINGS, Spec, complete, write_spec


@dataclass(frozen=True)
class Description:
    """Three mappings from a name to its description."""

    settings: dict[str, str]  # every leaf of the resolved spec, by its dotted path
    streams: dict[str, str]  # the solved type of every stream, fields as `fused.vision`
    # Modules by their counts, weights by their shapes; layers are folded to `*`.
    weights: dict[str, str]

    def sections(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield each mapping with its title."""
        yield "settings", self.settings
        yield "streams", self.streams
        yield "weights", self.weights


def describe(spec: Spec) -> Description:
    """Return the description of a valid spec, whose network is built on the meta device; else `SpecError`."""
    from mplug2.build.compose import compose

    net = compose(spec, device="meta", initial=False)
    spec = net.spec
    weights: dict[str, str] = {}
    for name in spec.modules:
        parameters = list(net.get_module(name).parameters())
        total = sum(p.numel() for p in parameters)
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        trainable = "" if trained == total else f", {trained:,} trainable"
        weights[name] = f"{total:,} parameters{trainable}"
    # The layers of a list under one name: a golden file has one line for all of them.
    folded: dict[str, list[str]] = {}
    for name, tensor in net.state_dict().items():
        folded_name = re.sub(r"\.\d+(?=\.)", ".*", name)
        folded.setdefault(folded_name, []).append(str(list(tensor.shape)))
    for name, shapes in folded.items():
        kinds = []
        for shape in dict.fromkeys(shapes):
            kinds.append(
                f"{shapes.count(shape)} x {shape}" if len(shapes) > 1 else shape
            )
        weights[name] = ", ".join(kinds)
    streams = {name: str(kind) for name, kind in net.types.items()}
    settings = spec.resolved()
    for name, entry in spec.modules.items():
        arguments = MODULES.declaration(entry.use).arguments.items()
        defaults = {}
        for key, argument in arguments:
            if not argument.required:
                defaults[key] = argument.default
        plain = _plainly(entry.arguments, defaults)
        settings["modules"][name] = {"use": entry.use, **plain}
    for section in settings.keys() & SETTINGS:
        defaults = {}
        for key, setting in SETTINGS[section].items():
            if key in settings[section]:
                defaults[key] = setting.default
        settings[section] = _plainly(settings[section], defaults)
    return Description(dict(_leaves(settings)), streams, weights)


def _plainly(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults and what is given in their place; 1 written out is the default 1.0."""
    plain = dict(defaults)
    for name, value in given.items():
        # An equal value keeps the form of the default, so that 1 and 1.0 do not differ.
        if name not in defaults or value != defaults[name]:
            plain[name] = value
    return plain


def describe_text(spec: Spec) -> str:
    """Return the text of a golden file: resolved spec, streams, weights."""
    spec = complete(spec)
    description = describe(spec)
    parts = [f"# resolved spec\n{write_spec(spec)}"]
    # The settings are in the spec above.
    for title, rows in list(description.sections())[1:]:
        width = max(map(len, rows), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
        parts.append(f"# {title}\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def differences(
    one: Description, other: Description
) -> dict[str, list[tuple[str, str, str]]]:
    """Return name and both values of what differs, by section; '' where one side has nothing of that name."""
    changed: dict[str, list[tuple[str, str, str]]] = {}
    sections = zip(one.sections(), other.sections(), strict=True)
    for (title, left), (_, right) in sections:
        for name in dict.fromkeys([*left, *right]):
            if left.get(name) != right.get(name):
                row = (name, left.get(name, ""), right.get(name, ""))
                changed.setdefault(title, []).append(row)
    return changed


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)
