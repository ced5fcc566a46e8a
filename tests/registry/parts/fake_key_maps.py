"""Key maps of which a check needs nothing but what follows the colon in `init`."""

from types import SimpleNamespace

clip = SimpleNamespace(source="NAME_OR_FILE")
mplug2 = SimpleNamespace(source="FILE")
own = SimpleNamespace(source="CHECKPOINT")
