"""A layered layout (Sugiyama, Tagawa and Toda, 1981): layers, few crossings, then coordinates.

Long edges are cut by bends, one in each layer that they pass, and bends are arranged like nodes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
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
        return [
            (source, target, layer)
            for layer in range(self.layers[source] + 1, self.layers[target])
        ]


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
        for one, other in itertools.pairwise(chain):
            below.setdefault(one, []).append(other)
            above.setdefault(other, []).append(one)
    rows = _untangled(rows, above, below)
    room = {
        place: widths[place] if isinstance(place, str) else BEND
        for row in rows
        for place in row
    }
    middles = _middles(rows, above, below, room)
    left = min((middles[p] - room[p] / 2 for p in middles), default=0.0)
    right = max((middles[p] + room[p] / 2 for p in middles), default=0.0)
    return Layout(layers, {place: x - left for place, x in middles.items()}, right - left)


def _layers(
    names: Mapping[str, float], arrows: Sequence[Arrow], late: set[str]
) -> dict[str, int]:
    """The longest way down to each node; nodes come after what they need, and ``late`` ones need nothing."""
    needs: dict[str, list[str]] = {name: [] for name in names}
    for source, target in arrows:
        needs[target].append(source)
    layers: dict[str, int] = {}
    for name in sorted(names, key=lambda name: name not in late):
        layers[name] = 1 + max((layers[one] for one in needs[name]), default=-1)
    for name in late:
        layers[name] = (
            min(
                (layers[target] for source, target in arrows if source == name), default=1
            )
            - 1
        )
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
        beside, order = (above, rows) if down else (below, rows[::-1])
        for other, row in itertools.pairwise([[], *order]):
            at = {place: i for i, place in enumerate(other)}
            own = {place: i for i, place in enumerate(row)}
            row.sort(key=lambda p: _mean([at[one] for one in beside[p]], own[p]))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(rows: list[list[Place]], below: Mapping[Place, list[Place]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(rows):
        at = {place: i for i, place in enumerate(lower)}
        ends: list[int] = []  # of the edges further left, in order
        for place in upper:
            own = [at[target] for target in below[place]]
            total += sum(len(ends) - bisect_right(ends, end) for end in own)
            for end in own:
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
        middles.update({place: middles[place] - x / 2 for place in row})
    pulls: dict[Place, list[tuple[Place, float]]] = {place: [] for place in middles}
    for one, others in below.items():
        for other in others:
            only = len(others) == len(above[other]) == 1
            pull = (
                (STRAIGHT if isinstance(one, str) or isinstance(other, str) else UPRIGHT)
                if only
                else 1.0
            )
            pulls[one].append((other, pull))
            pulls[other].append((one, pull))
    for sweep in range(min(PULLS, 20 + PULLED // (1 + len(middles)))):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted, weights = [], []
            for place in row:
                total = sum(pull for _, pull in pulls[place])
                drawn = sum(middles[one] * pull for one, pull in pulls[place])
                wanted.append(drawn / total if total else middles[place])
                weights.append(total or 0.1)  # what nothing pulls gives way
            apart = [(room[a] + room[b]) / 2 + GAP for a, b in itertools.pairwise(row)]
            middles.update(zip(row, spread(wanted, apart, weights), strict=True))
    return middles


def spread(
    wanted: Sequence[float], apart: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Return the points nearest to ``wanted`` (weighted least squares) that lie ``apart`` in the given order.

    With the distances taken off, the points must not fall: isotonic regression (pooled violators).
    """
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many points
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        mean, total, count = want - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, own, more = pools.pop()
            mean, total, count = (
                (other * own + mean * total) / (own + total),
                own + total,
                count + more,
            )
        pools.append((mean, total, count))
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]
