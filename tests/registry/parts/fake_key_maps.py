"""Key maps of which a check needs nothing but what follows the colon in `init`."""

from types import SimpleNamespace

clip = SimpleNamespace(source="NAME_OR_FILE", by_module=False)
mplug2 = SimpleNamespace(source="FILE", by_module=False)
checkpoint = SimpleNamespace(source="CHECKPOINT", by_module=True)
