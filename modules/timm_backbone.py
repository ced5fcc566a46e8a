"""Any backbone of timm as an image encoder, by its name."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modules.sizes import check_sizes
from modules.streams import Tokens
from modules.torchvision_guard import ensure_torchvision
from registry.errors import UserError
from registry.registries import closest_name

ensure_torchvision()

import timm  # noqa: E402

# Options that this module sets itself.
RESERVED = ("pretrained", "num_classes", "img_size", "features_only")


class TimmBackbone(nn.Module):
    """The features of a timm model before its pooling and head, one token for each position.

    A transformer returns its class token first, if it has one, then its patches. The map of a convolutional
    network is flattened row by row. ``width`` must be that of the model. ``pretrained`` loads timm's weights
    when the network is first built, not when a checkpoint is loaded; only then the hub is needed.
    ``options``: further arguments of the model, such as ``{drop_path_rate: 0.1}``.
    """

    inputs = {"image": "image B 3 image_size image_size"}
    outputs = "tokens B N width"

    def __init__(
        self,
        name: str,
        width: int,
        image_size: int = 224,
        pretrained: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(width=width, image_size=image_size)
        self.name, self.pretrained = name, pretrained
        self.arguments = _arguments(name, image_size, options or {})
        # On the meta device a model costs no memory and no time, whatever its size.
        with torch.device("meta"), torch.inference_mode(False), torch.enable_grad():
            probe = timm.create_model(name, **self.arguments)
            image = torch.zeros(1, 3, image_size, image_size)
            features = probe.eval().forward_features(image)
            unused_parts = _unused_children(probe, features)
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            raise ValueError(
                f"timm model '{name}' returns no tokens and no map of features"
            )
        # Tokens (b, n, width), or a map: most convolutions have (b, width, rows, columns), Swin has it last.
        is_nhwc = getattr(probe, "output_fmt", "NCHW") == "NHWC"
        self.channels_last = features.ndim == 3 or is_nhwc
        model_width = features.shape[-1 if self.channels_last else 1]
        if width != model_width:
            raise ValueError(
                f"width must be {model_width}, that of timm model '{name}', but is {width}"
            )
        self.body = timm.create_model(name, **self.arguments)
        for unused in unused_parts:
            setattr(self.body, unused, nn.Identity())

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Encode images; every token is valid, so there is no mask."""
        x = self.body.forward_features(image)
        # (b, width, rows, columns) -> (b, rows, columns, width)
        if not self.channels_last:
            x = x.movedim(1, -1)
        # (b, width), (b, rows, columns, width) or (b, n, width) -> (b, n, width)
        return Tokens(x.flatten(1, -2))

    def load_pretrained(self) -> None:
        """Load timm's weights if ``pretrained`` asks for them; raise `UserError` if they cannot be had."""
        if not self.pretrained:
            return
        try:
            model = timm.create_model(self.name, **self.arguments, pretrained=True)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(
                f"the pretrained weights of timm model '{self.name}' cannot be loaded ({reason}). Connect to "
                "the network once to download them, or set `pretrained: false`"
            ) from None
        weights = model.state_dict()
        # The head of the model is not built here.
        kept = {key: weights[key] for key in self.body.state_dict()}
        self.body.load_state_dict(kept)


def _arguments(name: str, image_size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `timm.create_model`; raise ValueError for a model or option without meaning."""
    if not timm.is_model(name):
        near = closest_name(name.split(".")[0], timm.list_models())
        hint = "`timm.list_models('*vit*')` lists them"
        if near:
            hint = f"did you mean '{near}'?"
        raise ValueError(f"timm has no model '{name}': {hint}")
    for option in options:
        if option in RESERVED:
            raise ValueError(f"'{option}' is not an option: the module sets it")
    with torch.device("meta"):
        parameters = _constructor_parameters(type(timm.create_model(name)))
    for option in options:
        if option not in parameters:
            near = closest_name(option, parameters)
            hint = f"its options: {', '.join(parameters)}"
            if near:
                hint = f"did you mean '{near}'?"
            raise ValueError(f"timm model '{name}' has no option '{option}': {hint}")
    # No class head: it would be built and never read.
    arguments = {**options, "num_classes": 0}
    if "img_size" in parameters:
        arguments["img_size"] = image_size
    return arguments


def _constructor_parameters(model_class: type) -> list[str]:
    """Return the names of the arguments of a class and of the classes to which it passes on the rest."""
    names: dict[str, None] = {}
    for base in model_class.__mro__:
        if base is nn.Module:
            break
        signature = inspect.signature(base.__init__)  # type: ignore[misc]
        for parameter in signature.parameters.values():
            # `*args` and `**kwargs` have no names that a user could set.
            if parameter.kind in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            ):
                names[parameter.name] = None
    names.pop("self", None)
    return list(names)


def _unused_children(probe: nn.Module, features: Any) -> list[str]:
    """Return the parts of a model that its features do not depend on, such as the norm of its head.

    Their parameters would never get a gradient, and an optimizer would still decay them.
    """
    if not isinstance(features, Tensor):
        return []
    # On the meta device gradients have no values, but it is known which exist.
    features.sum().backward()
    unused = []
    for name, child in probe.named_children():
        gradients = [parameter.grad for parameter in child.parameters()]
        if gradients and all(gradient is None for gradient in gradients):
            unused.append(name)
    return unused
