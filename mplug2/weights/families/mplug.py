"""Released mPLUG checkpoints (arXiv 2205.12005): pre-trained ones, and fine-tuned for any of its tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from mplug2.weights.families.mplug2 import INSIDE, Move, embedding_name, head_name, layer_name, vision_name
from mplug2.weights.files import read_tensors
from mplug2.weights.load import Checkpoint, put
from mplug2.weights.report import LoadReport
from registry import Spec, UserError

if TYPE_CHECKING:
    from mplug2.network import Network

# pre-trained checkpoints name the stack inside an encoder, fine-tuned ones do not
INFIX = re.compile(r"^((?:text|fusion)_encoder(?:_m)?)\.(?:bert|fusion)\.")
LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
DEAD = (
    (r"visual_encoder\.(?!visual\.)", "CLIP's text tower, which mPLUG never runs"),
    (r"visual_encoder\.visual\.proj$", "CLIP's output projection, which mPLUG never runs"),
    (r".*\.position_ids$", "a constant: 0, 1, 2, ..."),
    (r"fusion_encoder\.embeddings\.", "fusion layers read tokens, not words"),
    (r"(text|fusion)_encoder\.cls\.", "a head of pre-training"),
    (r"(prefix_ids|target_ids|bbox_prob_mask)$", "a constant: the ids of coordinates"),
)  # fmt: skip
QUEUE = {"image_queue": "vision", "text_queue": "text", "idx_queue": "group", "queue_ptr": "pointer"}
MODULES = {  # single modules: the role, what plays it here, and the name inside
    "visn_fc": ("project", "linear."),
    "visn_layer_norm": ("project", "norm."),
    "vision_proj": ("feature_head of vision", "linear."),
    "text_proj": ("feature_head of text", "linear."),
    "itm_head": ("class_head of depth 1", "out."),
    "temp": ("contrastive", "temperature"),
}


@dataclass(frozen=True)
class Parts:
    """Which modules of a network play the parts of mPLUG, by role, and what must be known of them."""

    modules: Mapping[str, str]
    inside: str = ""  # where the vision encoder keeps CLIP's tower
    text_depth: int = 0
    fusion_depth: int = 0
    fusion_stride: int = 1000
    queue: int = 0

    @classmethod
    def of(cls, spec: Spec) -> Parts:
        """Find the parts; UserError where two modules could be one part, or where mPLUG has none such."""
        found: dict[str, str] = {}
        known: dict[str, Mapping[str, object]] = {}
        for name, entry in spec.modules.items():
            if entry.use == "universal":
                raise UserError(f"{entry.place}: mPLUG has no universal layers, as module '{name}' is")
            role = _role(spec, name)
            if role in found:
                raise UserError(
                    f"{entry.place}: mPLUG has one {role}, but modules {found[role]} and {name} could be it"
                )
            found[role], known[role] = name, {"use": entry.use, **entry.arguments}

        def number(role: str, argument: str, default: int) -> int:
            return int(str(known.get(role, {}).get(argument, default)))

        return cls(
            found,
            INSIDE[str(known["vision encoder"]["use"])] if "vision encoder" in found else "",
            number("text_encoder", "depth", 0),
            number("fusion", "depth", 0),
            number("fusion", "stride", 1000),
            number("feature_queue", "size", 65536),
        )


def _role(spec: Spec, name: str) -> str:
    entry = spec.modules[name]
    if entry.use in INSIDE:
        return "vision encoder"
    if entry.use == "feature_head":
        return f"feature_head of {'text' if 'text' in fed_by(spec, name) else 'vision'}"
    if entry.use == "class_head":
        return f"class_head of depth {entry.arguments.get('depth', 2)}"
    return entry.use


def fed_by(spec: Spec, module: str) -> set[str]:
    """The kinds of the inputs from which the calls of ``module`` are computed."""
    waiting = [ref.stream for line in spec.flow.values() if line.callee == module for ref in line.refs()]
    kinds: set[str] = set()
    seen: set[str] = set()
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        if name in spec.inputs:
            kinds.add(spec.inputs[name].kind)
        else:
            waiting += [ref.stream for ref in spec.flow[name].refs()]
    return kinds


def from_mplug(net: Network, what: str, wanted: Collection[str]) -> LoadReport:
    """Load a released mPLUG checkpoint."""
    return load_mplug(net, read_tensors(what), wanted, what)


def load_mplug(
    net: Network,
    tensors: Mapping[str, Tensor],
    wanted: Collection[str] | None = None,
    origin: str = "checkpoint",
) -> LoadReport:
    """Load a released mPLUG state dict into the modules ``wanted`` (all, if None); ``_m`` keys go to momentum
    copies."""
    # stored as width x size
    values = {
        key: value.T if key in ("image_queue", "text_queue") else value for key, value in tensors.items()
    }
    plain = {key: INFIX.sub(r"\1.", key) for key in values}
    twins = {key for key, name in plain.items() if name.split(".")[0].endswith("_m")}
    plain = {key: re.sub(r"^(\w+)_m\.", r"\1.", name) for key, name in plain.items()}
    stored = [
        int(found[1])
        for name in plain.values()
        if (found := re.match(r"fusion_encoder\." + LAYER.pattern, name))
    ]
    moves = _Moves(Parts.of(net.spec), 1 + max(stored, default=-1), values)
    planned = [moves.move(key, name) for key, name in plain.items()]
    return put(net, Checkpoint(origin, values, planned, twins=twins), wanted, net.shadow_state_dict())


@dataclass(frozen=True)
class _Moves:
    parts: Parts
    fusion_layers: int
    tensors: Mapping[str, Tensor]

    def move(self, key: str, name: str) -> Move:
        """Where one key goes, whose name without infix and ``_m`` is ``name``."""
        for pattern, reason in DEAD:
            if re.match(pattern, name):
                return Move(key, reason=reason)
        part, _, rest = name.partition(".")
        if part in MODULES:
            role, inside = MODULES[part]
            return self.to(key, role, inside + rest)
        if part in QUEUE:
            return self.queue(key, part)
        planners: dict[str, Callable[[str, str], Move]] = {
            "visual_encoder": self.vision,
            "text_encoder": self.text,
            "fusion_encoder": self.fusion,
            "text_decoder": self.decoder,
        }
        return planners[part](key, rest) if part in planners else self.to(key, "", None)

    def to(self, key: str, role: str, name: str | None) -> Move:
        if name is None:
            return Move(key, reason="not a key of mPLUG")
        if role not in self.parts.modules:
            return Move(key, reason=f"this network has no {role}")
        return Move(key, f"{self.parts.modules[role]}.{name}")

    def queue(self, key: str, part: str) -> Move:
        size = self.tensors["idx_queue"].numel() if "idx_queue" in self.tensors else self.parts.queue
        if "feature_queue" in self.parts.modules and size != self.parts.queue:
            return Move(key, reason=f"a queue of {size}, and this network's holds {self.parts.queue}")
        return self.to(key, "feature_queue", QUEUE[part])

    def vision(self, key: str, rest: str) -> Move:
        name = vision_name(rest.removeprefix("visual."))
        return self.to(key, "vision encoder", name and self.parts.inside + name)

    def text(self, key: str, rest: str) -> Move:
        if rest.startswith("embeddings."):
            return self.to(key, "text_embedding", embedding_name(rest.removeprefix("embeddings.")))
        if (layer := LAYER.fullmatch(rest)) is None:
            return self.to(key, "", None)
        index, name = int(layer[1]), layer_name(layer[2])
        if index >= self.parts.text_depth and "text_encoder" in self.parts.modules:
            return Move(key, reason=f"only the first {self.parts.text_depth} stored text layers run here")
        return self.to(key, "text_encoder", name and f"layers.{index}.{name}")

    def fusion(self, key: str, rest: str) -> Move:
        if (layer := LAYER.fullmatch(rest)) is None:
            return self.to(key, "", None)
        index, name = int(layer[1]) - (self.fusion_layers - self.parts.fusion_depth), layer_name(layer[2])
        if "fusion" in self.parts.modules and index < 0:
            return Move(key, reason=f"only the last {self.parts.fusion_depth} stored fusion layers run")
        if layer[2].startswith("crossattention.") and index > 0 and index % self.parts.fusion_stride == 0:
            return Move(key, reason="a connected layer has no cross-attention")
        return self.to(key, "fusion", name and f"layers.{index}.{name}")

    def decoder(self, key: str, rest: str) -> Move:
        name: str | None = None
        if layer := LAYER.fullmatch(rest.removeprefix("bert.")):
            name = layer_name(layer[2])
            name = name and f"layers.{layer[1]}.{name}"
        elif rest.startswith("bert.embeddings."):
            name = embedding_name(rest.removeprefix("bert.embeddings."))
            name = name and f"embedding.{name}"
        elif rest.startswith("cls.predictions."):
            name = head_name(rest.removeprefix("cls.predictions."))
        return self.to(key, "text_decoder", name)
