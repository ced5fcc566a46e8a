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
    weights: dict[
        str, str
    ]  # modules by their counts, weights by their shapes; layers are folded to `*`

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
        weights[name] = f"{total:,} parameters" + (
            "" if trained == total else f", {trained:,} trainable"
        )
    folded: dict[str, list[str]] = {}
    for name, tensor in net.state_dict().items():
        folded.setdefault(re.sub(r"\.\d+(?=\.)", ".*", name), []).append(
            str(list(tensor.shape))
        )
    for name, shapes in folded.items():
        kinds = [
            f"{shapes.count(one)} x {one}" if len(shapes) > 1 else one
            for one in dict.fromkeys(shapes)
        ]
        weights[name] = ", ".join(kinds)
    streams = {name: str(kind) for name, kind in net.types.items()}
    settings = spec.resolved()
    for name, entry in spec.modules.items():
        arguments = MODULES.declaration(entry.use).arguments.items()
        defaults = {key: one.default for key, one in arguments if not one.required}
        settings["modules"][name] = {
            "use": entry.use,
            **_plainly(entry.arguments, defaults),
        }
    for section in settings.keys() & SETTINGS:
        defaults = {
            key: one.default
            for key, one in SETTINGS[section].items()
            if key in settings[section]
        }
        settings[section] = _plainly(settings[section], defaults)
    return Description(dict(_leaves(settings)), streams, weights)


def _plainly(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults and what is given in their place; 1 written out is the default 1.0."""
    same = [
        name
        for name, value in given.items()
        if name in defaults and value == defaults[name]
    ]
    return {
        **defaults,
        **{name: value for name, value in given.items() if name not in same},
    }


def describe_text(spec: Spec) -> str:
    """Return the text of a golden file: resolved spec, streams, weights."""
    spec = complete(spec)
    found = describe(spec)
    parts = [f"# resolved spec\n{write_spec(spec)}"]
    for title, rows in list(found.sections())[1:]:
        width = max(map(len, rows), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
        parts.append(f"# {title}\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def differences(
    one: Description, other: Description
) -> dict[str, list[tuple[str, str, str]]]:
    """Return name and both values of what differs, by section; '' where one side has nothing of that name."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for (title, left), (_, right) in zip(one.sections(), other.sections(), strict=True):
        names = dict.fromkeys([*left, *right])
        found[title] = [
            (name, left.get(name, ""), right.get(name, ""))
            for name in names
            if left.get(name) != right.get(name)
        ]
    return {title: rows for title, rows in found.items() if rows}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)
