"""Check stage 2, what is trained: batches, their goals, and the optimizer steps of an iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.checks.collector import Collector
from registry.checks.sources import SourceChecker
from registry.errors import Location, SpecError
from registry.language.equation import Ref
from registry.language.spec import Spec
from registry.training import LENGTHS, LOSS, trainable_goals

STEP_KEYS = ("draw", "all", "batch", "goal", "reuse", "until", "cache_gradients")
BATCH_KEYS = ("source", "batch_size", "goal", "split")
# How the values of a step are written, for messages.
STEP_FORMS: dict[str, tuple[type, str]] = {
    "draw": (dict, "{image: 2, text: 1}"),
    "all": (list, "[image, text]"),
    "batch": (str, "image"),
    "reuse": (list, "[saliency]"),
    "cache_gradients": (list, "[image_features, text_features]"),
}
Path = tuple[str | int, ...]


def nothing_to_train(spec: Spec) -> SpecError:
    """Return the error of a spec whose plan has no optimizer step, for commands that train.

    Such a spec is valid: it can be used to predict and to evaluate.
    """
    message = "this spec trains nothing"
    if not trainable_goals(spec):
        message += ": no goal has an output 'loss'"
        place = spec.key_place("goals")
        return SpecError.at(place, message, "add `train: {loss: loss}`")
    if not spec.data:
        hint = "add `data: {task: ..., train: {path: ...}}`"
        return SpecError.at(
            spec.tree.place, f"{message}: it has no section 'data'", hint
        )
    hint = "add `batches: {train: {source: ..., batch_size: 32}}`"
    return SpecError.at(
        spec.key_place("data"), f"{message}: no batch feeds a goal", hint
    )


class TrainingChecker(Collector):
    """Checks `data.batches`, `train.micro_batch`, `train.iteration` and `train.epochs`."""

    def __init__(self, sources: SourceChecker) -> None:
        super().__init__(sources.spec, sources.names)
        self.sources = sources
        batches = self.spec.data.get("batches")
        self.all_batches: dict[str, Any] = batches if isinstance(batches, dict) else {}
        if isinstance(self.spec.data.get("sources"), dict) and batches is not None:
            self.batches()
        elif self.spec.train["iteration"] is not None:
            message = "'train.iteration' needs 'data.sources' and 'data.batches'"
            self.wrong(self.spec.key_place("train", "iteration"), message)
        for key in ("epochs", "eval_every", "save_every"):
            if isinstance(length := self.spec.train[key], dict):
                self.length(f"'train.{key}'", length, self.spec.place("train", key))

    def batches(self) -> None:
        """Check all batches, and then the steps that use them."""
        if not self.all_batches:
            hint = "`batches: {train: {source: ..., batch_size: 32}}`"
            place = self.spec.key_place("data", "batches")
            self.wrong(place, "'data.batches' must be a mapping with a batch", hint)
            return
        for name, value in self.all_batches.items():
            if isinstance(value, dict):
                self.batch(name, value)
            else:
                hint = f"`{name}: {{source: ..., batch_size: 32}}`"
                place = self.spec.place("data", "batches", name)
                message = f"batch '{name}' must be a mapping, but is {value!r}"
                self.wrong(place, message, hint)
        self.micro_batches()
        self.iteration()

    def batch(self, name: str, value: Mapping[str, Any]) -> None:
        """Check one batch: its source and split, its size, its goal and its task options."""
        path = ("data", "batches", name)
        source = self.batch_source(name, value)
        size = value.get("batch_size", self.spec.data.get("batch_size"))
        if size is None:
            message = f"batch '{name}' must have a batch_size: samples of an optimizer step over all ranks"
            hint = "`batch_size: 32`, or `batch_size: {tokens: 4096}`"
            self.wrong(self.spec.key_place(*path), message, hint)
        else:
            place = self.spec.place(*path, "batch_size")
            self.amount(f"batch_size of batch '{name}'", size, place)
        self.batch_goal(name, value)
        task = self.sources.tasks.get(source) if isinstance(source, str) else None
        options = {}
        for key, setting in value.items():
            if key not in BATCH_KEYS:
                options[key] = setting
        if task is not None and options:
            arguments = self.sources.task_arguments(task)
            choices = [*BATCH_KEYS, *arguments]
            # Checked as arguments of a source, but the problems are those of the batch.
            num_before = len(self.sources.problems)
            self.sources.arguments(task, path, options, arguments, choices)
            self.problems += self.sources.problems[num_before:]
            del self.sources.problems[num_before:]

    def batch_source(self, name: str, value: Mapping[str, Any]) -> Any:
        """Check the source of a batch and its split; return the source."""
        path = ("data", "batches", name)
        source = value.get("source", self.spec.data.get("source"))
        sources, splits = self.spec.data["sources"], self.sources.splits
        split = value.get("split", "train")
        if source is None:
            message = f"batch '{name}' must name its source"
            hint = f"sources: {', '.join(sources)}"
            self.wrong(self.spec.key_place(*path), message, hint)
        elif source not in sources:
            place = self.spec.place("data", "source")
            if "source" in value:
                place = self.spec.place(*path, "source")
            self.unknown(place, "source", str(source), sources)
        # A source with another mistake has no splits here.
        elif source in splits and split not in splits[source]:
            place = self.spec.key_place(*path)
            if "split" in value:
                place = self.spec.place(*path, "split")
            listed = ", ".join(sorted(splits[source])) or "none"
            message = f"source '{source}' of batch '{name}' has no split '{split}'"
            self.wrong(place, message, f"splits of '{source}': {listed}")
        return source

    def batch_goal(self, name: str, value: Mapping[str, Any]) -> None:
        """Check that the goal that a batch feeds exists and, without an iteration, has a loss."""
        path = ("data", "batches", name)
        goal = value.get("goal", name)
        place = self.spec.key_place(*path)
        if "goal" in value:
            place = self.spec.place(*path, "goal")
        if goal not in self.spec.goals:
            what = f"goal of batch '{name}':"
            self.unknown(place, what, str(goal), trainable_goals(self.spec))
        # The steps of an iteration may feed it to another goal.
        elif LOSS not in self.spec.goals[goal] and self.spec.train["iteration"] is None:
            message = f"batch '{name}' feeds goal '{goal}', which has no output 'loss'"
            self.wrong(place, message, f"`{goal}: {{loss: ...}}`")

    def micro_batches(self) -> None:
        """Check `train.micro_batch`: an amount for all batches, or one for each."""
        value = self.spec.train["micro_batch"]
        if not isinstance(value, dict) or "tokens" in value:
            if value is not None:
                self.amount(
                    "'train.micro_batch'",
                    value,
                    self.spec.place("train", "micro_batch"),
                )
            return
        for name, amount in value.items():
            if name not in self.all_batches:
                place = self.spec.key_place("train", "micro_batch", name)
                self.unknown(place, "batch", name, self.all_batches)
            what = f"micro_batch of batch '{name}'"
            self.amount(what, amount, self.spec.place("train", "micro_batch", name))

    def amount(self, what: str, value: Any, place: Location) -> None:
        """Check an amount of samples or of tokens."""
        number = (
            value.get("tokens")
            if isinstance(value, dict) and len(value) == 1
            else value
        )
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            self.wrong(
                place,
                f"{what} must be a number of samples or {{tokens: N}}, but is {value!r}",
            )

    def iteration(self) -> None:
        """Check the steps of an iteration one after another."""
        steps = self.spec.train["iteration"]
        if steps is None:
            return
        if not isinstance(steps, list) or not steps:
            hint = "`iteration: [{draw: {image: 2, text: 1}}]`"
            place = self.spec.place("train", "iteration")
            self.wrong(place, "'train.iteration' must be a list of steps", hint)
            return
        # Of the goals that each batch was used for in earlier steps: later ones may reuse them.
        outputs: dict[str, dict[str, Ref]] = {}
        for index, step in enumerate(steps):
            settings = {"batch": step} if isinstance(step, str) else step
            self.step(("train", "iteration", index), settings, outputs)

    def step(self, path: Path, step: Any, outputs: dict[str, dict[str, Ref]]) -> None:
        """Check one step: its keys and their forms, its batches, and what it does with them."""
        if not isinstance(step, dict):
            message = f"a step must be a batch or a mapping, but is {step!r}"
            self.wrong(self.spec.place(*path), message, "`{batch: image}`")
            return
        for key in step:
            if key not in STEP_KEYS:
                place = self.spec.place(*path, key)
                self.unknown(place, "key of a step:", str(key), STEP_KEYS)
        forms = [key for key in ("draw", "all", "batch") if key in step]
        if len(forms) != 1:
            message = f"a step must have one of draw, all and batch, but has {' and '.join(forms) or 'none'}"
            self.wrong(self.spec.place(*path), message, "`{batch: image}`")
            return
        (form,) = forms
        # What follows reads these values.
        if not self.step_forms(path, form, step):
            return
        names = [step[form]] if form == "batch" else list(step[form])
        for name in names:
            if name not in self.all_batches:
                place = self.spec.place(*path, form)
                self.unknown(place, "batch", str(name), self.all_batches)
            elif form == "draw" and not _positive(step["draw"][name]):
                message = f"the weight of batch '{name}' must be positive, but is {step['draw'][name]!r}"
                self.wrong(self.spec.place(*path, "draw", name), message)
            else:
                self.step_goal(path, step, name, outputs)
        if "until" in step:
            self.length("'until'", step["until"], self.spec.place(*path, "until"))

    def step_forms(self, path: Path, form: str, step: Mapping[str, Any]) -> bool:
        """Check the forms of the values of a step; return whether all are right."""
        right = True
        for key in (form, "reuse", "cache_gradients"):
            kind, example = STEP_FORMS[key]
            if key in step and not (isinstance(step[key], kind) and step[key]):
                message = f"'{key}' of a step must be written as in `{key}: {example}`, but is {step[key]!r}"
                self.wrong(self.spec.place(*path, key), message)
                right = False
        return right

    def step_goal(
        self,
        path: Path,
        step: Mapping[str, Any],
        name: str,
        outputs: dict[str, dict[str, Ref]],
    ) -> None:
        """Check the goal of a step, what it reuses of an earlier step, and whose gradients it caches."""
        # A step may feed a batch to another goal than the batch names.
        settings = self.all_batches[name]
        goal_of_batch = (
            settings.get("goal", name) if isinstance(settings, dict) else name
        )
        goal = step.get("goal", goal_of_batch)
        if goal not in self.spec.goals:
            if "goal" in step:
                place = self.spec.place(*path, "goal")
                self.unknown(place, "goal", str(goal), trainable_goals(self.spec))
            return
        if LOSS not in self.spec.goals[goal]:
            message = (
                f"goal '{goal}' of this step has no output 'loss', so it trains nothing"
            )
            self.wrong(self.spec.place(*path), message, f"`{goal}: {{loss: ...}}`")
        earlier = outputs.setdefault(name, {})
        for output in step.get("reuse", ()):
            if output not in earlier:
                message = f"no earlier step with batch '{name}' gives '{output}'"
                hint = f"outputs so far: {', '.join(earlier) or 'none'}"
                self.wrong(self.spec.place(*path, "reuse"), message, hint)
            elif earlier[output].field is not None:
                # A step is handed streams, and one with fields only as it came from its line.
                message = f"output '{output}' is a field of the stream '{earlier[output].stream}'"
                hint = (
                    "a step reuses complete streams: take the field in a separate line"
                )
                self.wrong(self.spec.place(*path, "reuse"), message, hint)
        for stream in step.get("cache_gradients", ()):
            if self.spec.stream(str(stream)).name not in self.spec.flow:
                choices = [*self.spec.flow, *self.spec.expansion.aliases]
                place = self.spec.place(*path, "cache_gradients")
                self.unknown(place, "stream", str(stream), choices)
        # After the check: a step cannot reuse its own outputs.
        earlier.update(self.spec.goals[goal])

    def length(self, what: str, value: Any, place: Location) -> None:
        """Check a length: a number of epochs, or `{steps: N}`, `{samples: N}`, `{epochs: N, of: batch}`."""
        number, batch = value, None
        other_keys: set[str] = set()
        if isinstance(value, dict):
            units = [key for key in value if key in LENGTHS]
            other_keys = set(value) - {*units, "of"}
            batch = value.get("of")
            # Two units, or none, leave the mapping itself, which is not a number.
            if len(units) == 1:
                number = value[units[0]]
        if not _positive(number) or other_keys:
            hint = "`{steps: 500}`, `{samples: 10000}` or `{epochs: 3, of: BATCH}`"
            self.wrong(place, f"{what} must be a length, but is {value!r}", hint)
        elif batch is not None and batch not in self.all_batches:
            self.unknown(place, f"batch of {what}:", str(batch), self.all_batches)


def _positive(number: Any) -> bool:
    return (
        isinstance(number, int | float) and not isinstance(number, bool) and number > 0
    )
