"""Messages for names that an empty value deleted and that something still uses."""

from __future__ import annotations

from registry.errors import Location
from registry.language.equation import Ref
from registry.language.spec import Spec

SHOWN = 4  # users in a message
SECTIONS = {
    "inputs": "input",
    "flow": "stream",
    "modules": "module",
    "define": "definition",
}


def deleted_message(spec: Spec, user: Location, section: str, name: str) -> str:
    """Return that and where an entry of a section was deleted, or an empty text if it was not."""
    node = spec.tree.value.get(section)
    # Merging keeps the places of what it deleted.
    if node is None or name not in node.deleted:
        return ""
    place = node.deleted[name].seen_from(user)
    return (
        f"{SECTIONS[section]} '{name}' was deleted (at {place}), but is still used here"
    )


def stream_deleted(spec: Spec, ref: Ref, users: dict[str, list[str]]) -> str:
    """Return that a stream or input was deleted, and what uses it, or an empty text."""
    section = (
        "flow" if deleted_message(spec, ref.place, "flow", ref.stream) else "inputs"
    )
    message = deleted_message(spec, ref.place, section, ref.stream)
    if not message:
        return ""
    names = users[ref.stream]
    shown = names[:SHOWN]
    if len(names) > SHOWN:
        shown = [*shown, f"{len(names) - SHOWN} more"]
    verb = "uses" if len(names) == 1 else "use"
    return message.replace("is still used here", f"{', '.join(shown)} still {verb} it")


def stream_users(spec: Spec) -> dict[str, list[str]]:
    """Return the lines and goals that read each stream, as messages name them."""
    users: dict[str, list[str]] = {}
    for line in spec.flow.values():
        # A line that reads a stream twice is listed once.
        for stream in dict.fromkeys(ref.stream for ref in line.refs()):
            users.setdefault(stream, []).append(f"'{line.name}'")
    for goal, outputs in spec.goals.items():
        for stream in dict.fromkeys(ref.stream for ref in outputs.values()):
            users.setdefault(stream, []).append(f"goal '{goal}'")
    return users
