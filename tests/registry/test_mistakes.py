"""Every mistake is found at its own place, alone, and said in one sentence.

`«` marks the place in the changed text: it is taken out before the text is read.
"""

from __future__ import annotations

import pytest

from registry import Registries, SpecError, check, parse_spec

MISTAKES = [
    # names
    ("flow:\n", "«flwo: {}\nflow:\n", "unknown section 'flwo'", "did you mean 'flow'?"),
    (
        "use: fusion",
        "use: «fushion",
        "unknown module 'fushion'",
        "did you mean 'fusion'?",
    ),
    (
        "use: fusion",
        "use: «take",
        "unknown module 'take'",
        "it is an operation: call it in `flow` by that name",
    ),
    (
        "depth: 12",
        "«dept: 12",
        "unknown argument of 'video_vit': 'dept'",
        "did you mean 'depth'?",
    ),
    (
        "depth: 12",
        "depth: «1.5",
        "argument 'depth' of 'video_vit' must be int, but is 1.5",
        "",
    ),
    (
        "depth: 12",
        "temporal: «lokal",
        "argument 'temporal' of 'video_vit' must be one of 'local', 'none', but is 'lokal'",
        "did you mean 'local'?",
    ),
    (
        "decoder:   {use: text_decoder, width: 768}",
        "decoder:   {use: text_decoder, width: 768}\n  «rare: {use: pool}",
        "module 'rare' (pool) must set 'stride', but does not",
        "add `stride: ...` (int)",
    ),
    (
        "depth: 12",
        "«widht: 768, depth: 12",
        "unknown argument of 'video_vit': 'widht'",
        "did you mean 'width'?",
    ),
    (
        "words(question)",
        "«word(question)",
        "unknown module or operation 'word'",
        "did you mean 'words'?",
    ),
    (
        "words(question)",
        "«project(question)",
        "'project' is a registered module, but none is built here by that name",
        "add to `modules`: `project: {use: project, ...}`",
    ),
    (
        "words(question)",
        "words(«qestion)",
        "unknown stream 'qestion'",
        "did you mean 'question'?",
    ),
    (
        "concat(both.vision, both.text)",
        "concat(both.vision, «both.txt)",
        "unknown stream 'both.txt'",
        "did you mean 'both.text'?",
    ),
    (
        "concat(both.vision, both.text)",
        "concat(«both)",
        "'both' has several outputs: name one",
        "one of both.text, both.vision",
    ),
    (
        "take(memory, question_index)",
        "take(«memory.vision, question_index)",
        "'memory' is one stream without fields, but 'memory.vision' is used",
        "write `memory`",
    ),
    (
        "words(question)",
        "words(«question.ids)",
        "input 'question' has no fields, but 'question.ids' is used",
        "",
    ),
    (
        "decoder(answer, memory=evidence)",
        "decoder(answer, «memry=evidence)",
        "unknown port or option 'memry' of decoder",
        "did you mean 'memory'?",
    ),
    (
        "decoder(answer, memory=evidence)",
        "«decoder(memory=evidence)",
        "port 'text' of decoder must be filled, but is not",
        "add `text=stream` (text A L)",
    ),
    (
        "text(spoken)",
        "text(spoken, «question)",
        "text takes 1 streams (tokens), but is given 2",
        "",
    ),
    (
        "fusion(text=asked, vision=seen)",
        "fusion(asked, vision=seen, «text=asked)",
        "port 'text' of fusion is filled twice",
        "",
    ),
    (
        "route='text'",
        "route=«'txt'",
        "option 'route' of universal must be one of 'vision', 'text', but is 'txt'",
        "did you mean 'text'?",
    ),
    (
        "route='text'",
        "route=«text",
        "option 'route' of universal takes a value, but text is a stream",
        "quote it: `route='text'`",
    ),
    (
        "universal(read, route='text')",
        "«universal(read)",
        "option 'route' of universal must be set, but is not",
        "add `route=...`",
    ),
    (
        "text(spoken)",
        "text(spoken, «depth=3)",
        "'depth' is an argument of text, not a port or an option of its calls",
        "set it where the module is built: `text: {..., depth: ...}`",
    ),
    (
        "use: universal, width: 768",
        "use: universal, width: 768, «route: text",
        "'route' is an option of calls of 'universal', not an argument",
        "set it where the module is called: `universal(..., route=...)`",
    ),
    ("@decoder", "«@decodr", "unknown module 'decodr'", "did you mean 'decoder'?"),
    (
        "@decoder",
        "«answer",
        "port 'decoder' of beam_search takes a module, written with @",
        "`@answer`",
    ),
    (
        "beam_search(@decoder, memory=memory",
        "beam_search(@decoder, memory=«decoder",
        "'decoder' is a module, not a stream",
        "pass it as `@decoder`, or call it in a separate line",
    ),
    (
        "momentum: {decay: 0.995}\n",
        "",
        "ema(logits) needs averaged weights, but there is no section 'momentum'",
        "add the section `momentum: {decay: 0.995}`",
    ),
    (
        "  seen:     take",
        "  «question_index:    take(visual, video_index)\n  seen:     take",
        "'question_index' is an input already (set at spec.yaml:7:3)",
        "give the stream another name",
    ),
    (
        "predict: {answer: guess}",
        "«predict: {}",
        "goal 'predict' must have outputs, but has none",
        None,
    ),
    (
        "predict: {answer: guess}",
        "«predict:",
        "goal 'predict' must have outputs, but has none",
        "`predict: {loss: loss}`",
    ),
    (
        "{loss: loss}",
        "{loss: «los}",
        "unknown stream 'los'",
        "did you mean 'loss'?",
    ),
    (
        "  train:   {loss: loss}",
        "  «train:   {lost: loss}",
        "goal 'train' must have the output 'loss', but has not",
        "`train: {loss: loss}`",
    ),
    (
        "freeze:   [vision.stem]",
        "freeze:   [universal.x, «visoin.stem]",
        "'visoin.stem' matches nothing: there is no module 'visoin'",
        "did you mean 'vision.stem'?",
    ),
    (
        "{vision: 'clip:ViT-B-16'",
        "{«visual: 'clip:ViT-B-16'",
        "init pattern 'visual' must match a module, but matches none",
        None,
    ),
    (
        "vision: 'clip:ViT-B-16'",
        "«vision.stem: 'clip:ViT-B-16'",
        "init pattern 'vision.stem' must match a module, but matches none",
        "did you mean 'vision'?",
    ),
    (
        "vision: 'clip:ViT-B-16'",
        "vision: «'klip:ViT-B-16'",
        "init source must be one of 'checkpoint:CHECKPOINT', 'clip:NAME_OR_FILE', 'mplug2:FILE', "
        "but is 'klip:ViT-B-16'",
        "did you mean 'clip:ViT-B-16'?",
    ),
    (
        "vision: 2e-6",
        "«vison: 2e-6",
        "'vison' matches nothing: there is no module 'vison'",
        "did you mean 'vision'?",
    ),
    (
        "train:    {epochs: 2",
        "tie:      {words.word.weight: «decode.word.weight}\ntrain:    {epochs: 2",
        "'decode.word.weight' matches nothing: there is no module 'decode'",
        "did you mean 'decoder.word.weight'?",
    ),
    (
        "epochs: 2",
        "«epoch: 2",
        "unknown key of 'train': 'epoch'",
        "did you mean 'epochs'?",
    ),
    (
        "epochs: 2",
        "epochs: «two",
        "'train.epochs' must be int | dict, but is 'two'",
        "",
    ),
    ("epochs: 2", "zero: «4", "'train.zero' must be one of 0, 1, 2, 3, but is 4", ""),
    (
        "epochs: 2",
        "schedule: «cosin",
        "'train.schedule' must be one of 'cosine', 'constant', 'linear', but is 'cosin'",
        "did you mean 'cosine'?",
    ),
    (
        "kind: video_qa",
        "kind: «video_q",
        "unknown task 'video_q'",
        "did you mean 'video_qa'?",
    ),
    (
        "kind: video_qa, ",
        "",
        "'data' must name its task, but does not",
        None,
    ),
    (
        "media: clips",
        "media: clips, «question_per_clip: 6",
        "unknown key of 'data' with task 'video_qa': 'question_per_clip'",
        "did you mean 'questions_per_clip'?",
    ),
    (
        "train: {path: train.jsonl}",
        "train: {«pth: train.jsonl}",
        "unknown key of 'data.train' with task 'video_qa': 'pth'",
        "did you mean 'path'?",
    ),
    (
        "train: {path: train.jsonl}",
        "«train: {}",
        "data.train must set 'path' of task 'video_qa', but does not",
        "add `path: ...` (str)",
    ),
    (
        "train: {path: train.jsonl}",
        "train: {path: «3}",
        "argument 'path' of task 'video_qa' must be str, but is 3",
        "",
    ),
    (
        "[accuracy]",
        "[«acuracy]",
        "unknown metric 'acuracy'",
        "did you mean 'accuracy'?",
    ),
    (
        "{metrics:",
        "{goal: «predit, metrics:",
        "unknown goal 'predit'",
        "did you mean 'predict'?",
    ),
    (
        "  predict: {answer: guess}",
        "  answer: {answer: guess}",
        "metrics measure goal 'predict', but there is no such goal",
        "add it to `goals`, or set `goal: ...` in `eval`",
    ),
    # graph
    (
        "words(question)",
        "words(question)\n  «more: words(question)",
        "stream 'more' is computed and never used",
        "use it, add it to a goal, or delete the line",
    ),
    (
        "  decoder:   {",
        "  «other:     {use: fusion, width: 768}\n  decoder:   {",
        "module 'other' is built and never called",
        "call it in `flow`, or delete the line",
    ),
    (
        "  answer_weight:     weight A",
        "  answer_weight:     weight A\n  «rest:    weight A",
        "input 'rest' is declared and never used",
        "read it in `flow`, or delete the line",
    ),
    (
        "read:     text(spoken)",
        "read:     «text(asked)",
        "the flow has a cycle: read <- asked <- read",
        "let one of these lines read something else",
    ),
    # kinds and sizes
    (
        "vision(video)",
        "vision(«question)",
        "wrong kind: port 'video' of vision takes frames B 3 frames size size, "
        "but stream 'question' is text Q L",
        "did you mean 'video', which nothing uses?",
    ),
    (
        "text(spoken)",
        "text(«question)",
        "wrong kind: port 'tokens' of text takes tokens B L width, but stream 'question' is text Q L",
        "did you mean 'spoken', which nothing uses?",
    ),
    (
        "decoder:   {use: text_decoder, width: 768}",
        "decoder:   {use: text_decoder, width: 512}",
        "width mismatch: port 'memory' of decoder must be width 512 (set at spec.yaml:16:41), "
        "but stream 'evidence' has 768 there (set at spec.yaml:15:35)",
        "add `evidence_p: project(evidence)` with `project: {use: project, width_in: 768, width: 512}`, "
        "and write `memory=evidence_p`",
    ),
    (
        "words:     {use: text_embedding, width: 768}",
        "words:     {use: text_embedding, width: 512}",
        "width mismatch: port 'tokens' of text must be width 768 (set at spec.yaml:13:41), "
        "but stream 'spoken' has 512 there (set at spec.yaml:12:43)",
        None,
    ),
    (
        "frames V 3 T H W",
        "frames V 1 T H W",
        "size mismatch: port 'video' of vision must be size 3 on axis 2, "
        "but stream 'video' has 1 there (set at spec.yaml:3:13)",
        "",
    ),
    (
        "frames V 3 T H W",
        "frames V 3 16 H W",
        "frames mismatch: port 'video' of vision must be frames 8 (set at spec.yaml:11:62), "
        "but stream 'video' has 16 there (set at spec.yaml:3:13)",
        "",
    ),
    (
        "fusion(text=asked, vision=seen)",
        "fusion(text=asked, vision=«visual)",
        "axis mismatch: port 'vision' of fusion must have axis Q, as port 'text' has (stream 'asked'), "
        "but stream 'visual' has V there",
        "did you mean 'seen', which nothing uses?",
    ),
    (
        "{loss: loss}",
        "{loss: «logits}",
        "'loss' must be a scalar, but stream 'logits' is logits A La 30522",
        "did you mean 'loss', which nothing uses?",
    ),
    (
        "weight=answer_weight",
        "weight=«question_index",
        "wrong kind: port 'weight' of lm_loss takes weight A, but stream 'question_index' is index A -> Q",
        "did you mean 'answer_weight', which nothing uses?",
    ),
    (
        "[accuracy]",
        "[«top_one]",
        "metric 'top_one' measures 'answer' as logits, but stream 'guess' (goal 'predict') is "
        "sequences Q guess.num_return_sequences",
        "",
    ),
    (
        "predict: {answer: guess}",
        "predict: {reply: guess}",
        "metric 'accuracy' measures output 'answer' (sequences Q n), which goal 'predict' has not",
        "outputs of the goal: reply",
    ),
]


def planted(good: str, old: str, new: str) -> tuple[str, str]:
    """Return the changed text and the marked position, or "" without a mark."""
    assert good.count(old) == 1 or old in ("depth: 12", "use: fusion", "@decoder"), old
    text = good.replace(old, new, 1)
    if "«" not in text:
        return text, ""
    before = text[: text.index("«")]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return text.replace("«", ""), f"spec.yaml:{line}:{column}"


def test_nothing_is_wrong_with_the_good_spec(good: str, names: Registries) -> None:
    report = check(parse_spec(good), names)
    assert report.raise_if_bad().good
    assert str(report.types["video"]) == "frames V 3 8 224 224"
    assert str(report.types["both.vision"]) == "tokens Q patches.N 768"
    assert str(report.types["memory"]) == "tokens Q memory.N 768"
    assert str(report.types["logits"]) == "logits A La 30522"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"), MISTAKES, ids=lambda value: str(value)[:40]
)
def test_mistake(
    old: str,
    new: str,
    message: str | None,
    hint: str | None,
    good: str,
    names: Registries,
) -> None:
    text, place = planted(good, old, new)
    try:
        problems = check(parse_spec(text), names).problems
    except SpecError as error:
        problems = error.problems
    print(*problems, sep="\n")
    assert len(problems) == 1
    assert problems[0].message == message
    if place:
        assert str(problems[0].place) == place
    if hint is not None:
        assert problems[0].hint == hint
