"""A layered layout (Sugiyama, Tagawa and Toda, 1981): layers, few crossings, then coordinates.

Long edges are cut by bends, one in each layer that they pass, and bends are arranged like nodes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 24  # over the order
PULLS = 300  # over the coordinates
PULLED = 600_000  # places that are drawn to their neighbours, over all pulls: a large drawing gets fewer
BEND = 18.0  # the room that a passing edge takes
GAP = 26.0  # between neighbours of a layer
STRAIGHT = 8.0  # how much more an edge pulls that is the only one at both of its ends
UPRIGHT = 400.0  # how much more a long edge pulls between two of its bends

Arrow = tuple[str, str]  # source, target
Bend = tuple[str, str, int]  # of an arrow, in a layer
Place = str | Bend


@dataclass(frozen=True)
class Layout:
    """The layer of each node, the middle of each node and bend from left to right, and the total width."""

    layers: dict[str, int]
    middles: dict[Place, float]
    width: float

    def bends(self, source: str, target: str) -> list[Bend]:
        """The bends of an edge on its way."""
        passed = range(self.layers[source] + 1, self.layers[target])
        return [(source, target, layer) for layer in passed]


def lay_out(
    widths: Mapping[str, float], arrows: Sequence[Arrow], late: Sequence[str] = ()
) -> Layout:
    """Place nodes, given in the order of computation; ``late`` ones just above what first needs them."""
    arrows = list(dict.fromkeys(arrows))
    layers = _layers(widths, arrows, set(late))
    rows: list[list[Place]] = [[] for _ in range(max(layers.values(), default=0) + 1)]
    for name in widths:
        rows[layers[name]].append(name)
    above: dict[Place, list[Place]] = {name: [] for name in widths}
    below: dict[Place, list[Place]] = {name: [] for name in widths}
    for source, target in arrows:
        chain: list[Place] = [source]
        for layer in range(layers[source] + 1, layers[target]):
            chain.append((source, target, layer))
            rows[layer].append(chain[-1])
        chain.append(target)
        for upper, lower in itertools.pairwise(chain):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    rows = _untangled(rows, above, below)
    room: dict[Place, float] = {}
    for row in rows:
        for place in row:
            room[place] = widths[place] if isinstance(place, str) else BEND
    middles = _middles(rows, above, below, room)
    left = min((middles[place] - room[place] / 2 for place in middles), default=0.0)
    right = max((middles[place] + room[place] / 2 for place in middles), default=0.0)
    # Moved so that the leftmost point of the drawing is at 0.
    moved = {place: middle - left for place, middle in middles.items()}
    return Layout(layers, moved, right - left)


def _layers(
    names: Mapping[str, float], arrows: Sequence[Arrow], late: set[str]
) -> dict[str, int]:
    """The longest way down to each node; nodes come after what they need, and ``late`` ones need nothing."""
    needs: dict[str, list[str]] = {name: [] for name in names}
    for source, target in arrows:
        needs[target].append(source)
    layers: dict[str, int] = {}
    # Late nodes need nothing: with a layer each, all others find what they need.
    for name in sorted(names, key=lambda name: name not in late):
        layers[name] = 1 + max((layers[needed] for needed in needs[name]), default=-1)
    for name in late:
        users = [layers[target] for source, target in arrows if source == name]
        layers[name] = min(users, default=1) - 1
    return layers


def _untangled(
    rows: list[list[Place]],
    above: Mapping[Place, list[Place]],
    below: Mapping[Place, list[Place]],
) -> list[list[Place]]:
    """Order each layer by the mean place of its neighbours, down and up alternately; keep the best order
    seen."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours, order = (above, rows) if down else (below, rows[::-1])
        for sorted_row, row in itertools.pairwise([[], *order]):
            _sort_by_neighbours(row, sorted_row, neighbours)
        # The order may get worse from one sweep to the next: the best one is returned.
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _sort_by_neighbours(
    row: list[Place], sorted_row: list[Place], neighbours: Mapping[Place, list[Place]]
) -> None:
    """Sort a layer by the mean index of each place's neighbours in the layer that is sorted already."""
    index_of = {place: index for index, place in enumerate(sorted_row)}
    keys: dict[Place, float] = {}
    for index, place in enumerate(row):
        indices = [index_of[neighbour] for neighbour in neighbours[place]]
        # A place without neighbours keeps its index.
        keys[place] = sum(indices) / len(indices) if indices else index
    row.sort(key=keys.__getitem__)


def _crossings(rows: list[list[Place]], below: Mapping[Place, list[Place]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(rows):
        index_of = {place: index for index, place in enumerate(lower)}
        # Where the edges further left end, sorted: those that end further right are crossed.
        ends: list[int] = []
        for place in upper:
            targets = [index_of[target] for target in below[place]]
            for end in targets:
                total += len(ends) - bisect_right(ends, end)
            # Edges of one place do not cross each other, so its own come in after the count.
            for end in targets:
                insort(ends, end)
    return total


def _middles(
    rows: list[list[Place]],
    above: Mapping[Place, list[Place]],
    below: Mapping[Place, list[Place]],
    room: Mapping[Place, float],
) -> dict[Place, float]:
    """Draw every place towards its neighbours, layer by layer, keeping order and distance.

    The sum of pull * (difference of the middles)^2 over all edges falls with each step, so that it settles.
    """
    middles: dict[Place, float] = {}
    for row in rows:
        x = 0.0
        for place in row:
            middles[place] = x + room[place] / 2
            x += room[place] + GAP
        # All layers begin centred above each other.
        for place in row:
            middles[place] -= x / 2
    pulls = _pulls(above, below, middles)
    for sweep in range(min(PULLS, 20 + PULLED // (1 + len(middles)))):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            targets, weights = [], []
            for place in row:
                total = sum(pull for _, pull in pulls[place])
                weighted = sum(middles[other] * pull for other, pull in pulls[place])
                targets.append(weighted / total if total else middles[place])
                # What nothing pulls gives way.
                weights.append(total or 0.1)
            apart = [(room[a] + room[b]) / 2 + GAP for a, b in itertools.pairwise(row)]
            middles.update(zip(row, spread(targets, apart, weights), strict=True))
    return middles


def _pulls(
    above: Mapping[Place, list[Place]],
    below: Mapping[Place, list[Place]],
    places: Iterable[Place],
) -> dict[Place, list[tuple[Place, float]]]:
    """Return which places pull at each place, and how much."""
    pulls: dict[Place, list[tuple[Place, float]]] = {place: [] for place in places}
    for upper, targets in below.items():
        for lower in targets:
            pull = 1.0
            # An edge that is alone at both ends can be straight; between two bends it must be.
            if len(targets) == len(above[lower]) == 1:
                has_node = isinstance(upper, str) or isinstance(lower, str)
                pull = STRAIGHT if has_node else UPRIGHT
            pulls[upper].append((lower, pull))
            pulls[lower].append((upper, pull))
    return pulls


def spread(
    targets: Sequence[float], apart: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Return the points nearest to ``targets`` (weighted least squares) that are ``apart`` in the given order.

    With the distances taken off, the points must not fall: isotonic regression (pooled violators).
    """
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many points
    for target, offset, weight in zip(targets, offsets, weights, strict=True):
        mean, total, count = target - offset, weight, 1
        # A pool that is above the next one is merged with it: both get their common mean.
        while pools and pools[-1][0] > mean:
            pool_mean, pool_total, pool_count = pools.pop()
            weighted = pool_mean * pool_total + mean * total
            mean = weighted / (pool_total + total)
            total, count = pool_total + total, pool_count + count
        pools.append((mean, total, count))
    points: list[float] = []
    for mean, _, count in pools:
        # The distances that were taken off come back.
        for _ in range(count):
            points.append(mean + offsets[len(points)])
    return points
