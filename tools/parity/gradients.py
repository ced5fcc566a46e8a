"""Weights and gradients of a composed network under the released names."""

from __future__ import annotations

from torch import Tensor

from mplug2.network import Network
from mplug2.weights.export import export
from mplug2.weights.report import LoadReport
from registry import KEY_MAPS
from tools.parity.rows import Comparison

MARK = "grad."
UNKNOWN = "not a key of "  # how the reason of a key begins that the table of a family does not have


def report_unknown(net: Network, report: LoadReport, rows: Comparison) -> None:
    """Add a failed row for each recorded weight that no table names, and each parameter without a value."""
    parameters = dict(net.named_parameters())
    for row in report.of("dropped"):
        if row.reason.startswith(UNKNOWN):
            rows.miss(f"weight {row.source}")
    for row in report.of("missing"):
        if row.target in parameters:
            rows.miss(f"weight {row.target}")


def compare_gradients(
    net: Network, family: str, loss: Tensor, rows: Comparison
) -> None:
    """Compare each recorded ``grad.KEY`` of a loss with ours, if a weight here has that key."""
    recorded = [name for name in rows.outputs if name.startswith(MARK)]
    if not recorded:
        return
    net.zero_grad()
    loss.backward()
    gradients = {
        name: value.grad
        for name, value in net.named_parameters()
        if value.grad is not None
    }
    released, _ = export(net, KEY_MAPS.load(family), gradients, {}, None, "gradients")
    for name in recorded:
        key = name.removeprefix(MARK)
        if key in released:
            rows.close(name, released[key])
