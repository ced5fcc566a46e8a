"""The model card of a shared network, written from its run: use, data, results, spec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mplug2.predict.pipeline import Pipeline
from mplug2.train.checkpoint_state import STATE, read_state
from mplug2.train.seeds import PREFIX, spread_of_runs
from registry import KINDS, Spec
from registry.training import training_plan

_FILES = {"video": "clip.mp4", "image": "photo.jpg"}
_LOCATIONS = ("path", "arrow", "shards", "text_file", "items")


def model_card(pipe: Pipeline, trained: Spec, checkpoint: Path, repository: str) -> str:
    """Return the card, as Markdown with the metadata that the hub reads.

    ``pipe``: the shared network, with the spec that is shared. ``trained``: the spec of the run, which names
    the data. ``checkpoint``: its folder, with the measured values.
    """
    spec = pipe.net.spec
    tags = ["mplug2", str(spec.data["task"])]
    lines = ["---", "library_name: mplug2", f"tags: [{', '.join(tags)}]", "---", ""]
    lines += [f"# {repository.partition('/')[2]}", "", _summary(pipe), ""]
    lines += ["## Use", "", *_usage(pipe, repository), ""]
    lines += ["## Data", "", *_data(trained), ""]
    lines += ["## Results", "", *_results(trained, checkpoint), ""]
    lines += [
        "## Spec",
        "",
        "`spec.yaml` in this repository describes the network:",
        "",
    ]
    modules = [f"| `{name}` | {entry.use} |" for name, entry in spec.modules.items()]
    lines += ["| module | kind |", "|---|---|", *modules, ""]
    lines += [
        "```yaml",
        *(f"{name}: {line.text}" for name, line in spec.flow.items()),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _summary(pipe: Pipeline) -> str:
    reads = {"video": "a video", "image": "an image"}.get(pipe.kind, "text alone")
    if pipe.views > 1:
        reads = f"{pipe.views} {pipe.kind}s"
    if pipe.views and pipe.asks:
        reads += f" and a text (`{pipe.asks}`)"
    declared = KINDS[pipe.says].answer
    answer = pipe.says if declared is None else declared.noun
    count = sum(parameter.numel() for parameter in pipe.net.parameters())
    return (
        f"A network of mplug2 that reads {reads} and gives {answer}. It has {count:,} parameters; the "
        "weights are safetensors."
    )


def _usage(pipe: Pipeline, repository: str) -> list[str]:
    arguments = []
    if pipe.views == 1:
        arguments.append(f'"{_FILES[pipe.kind]}"')
    elif pipe.views:
        arguments.append(f'("first_{_FILES[pipe.kind]}", "second_{_FILES[pipe.kind]}")')
    if pipe.asks:
        arguments.append('question="your text"')
    return [
        "```python",
        "import mplug2",
        "",
        f'net = mplug2.load("hf://{repository}")',
        f"result = net({', '.join(arguments)})",
        "print(result)",
        "```",
        "",
        "A list of files gives a list of results. Scores are not calibrated.",
    ]


def _data(spec: Spec) -> Iterator[str]:
    """Yield the sources of a spec; of paths the last name alone, since the others are those of a machine."""
    yield "| source | task | split | file |"
    yield "|---|---|---|---|"
    for described in training_plan(spec).sources.values():
        for split, arguments in described.splits.items():
            named = [arguments[key] for key in _LOCATIONS if arguments.get(key)]
            files = ", ".join(f"`{Path(str(name)).name}`" for name in named) or "-"
            yield f"| {described.name} | {described.task} | {split} | {files} |"


def _results(spec: Spec, checkpoint: Path) -> Iterator[str]:
    """Yield what the run measured, with the extent over seeds if there are several."""
    if not (checkpoint / STATE).is_file():
        yield "The checkpoint has no record of its run."
        return
    values = read_state(checkpoint)["metrics"]
    if not values:
        yield "The run was not evaluated."
        return
    yield f"Measured in training, on the split `{spec.eval['split']}`:"
    yield ""
    run = checkpoint.resolve().parent.parent
    spreads = spread_of_runs(run.parent) if run.name.startswith(PREFIX) else {}
    yield "| metric | value | over seeds |"
    yield "|---|---|---|"
    for name, value in values.items():
        extent = "one run: no interval"
        if (spread := spreads.get(name)) is not None and spread.num_runs > 1:
            extent = (
                f"best checkpoints: median {spread.median:.4f}, {spread.least:.4f} to {spread.greatest:.4f}, "
                f"{spread.num_runs} seeds"
            )
        yield f"| {name} | {value:.4f} | {extent} |"
