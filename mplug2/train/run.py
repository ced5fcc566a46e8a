"""Start a run: from a spec, with everything built from it, or from a composed network and your loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mplug2.checking.stages import check_stages
from mplug2.checking.vocabulary import check_trained_vocabulary, describe_vocabularies
from mplug2.eval.run import eval_loader
from mplug2.runtime import distributed
from mplug2.runtime.rng import seed_everything
from mplug2.train.engines.base import check_engine
from mplug2.train.ready import check_fit_arguments, training_loaders
from mplug2.train.run_folder import open_run_folder
from mplug2.train.run_lock import run_locks
from mplug2.train.run_state import Result
from mplug2.train.trainer import Decode, Trainer
from registry import Spec, check, read_spec
from registry.checks.training import nothing_to_train
from registry.training import training_plan


@distributed.lost_rank_named()
@run_locks()
def train(
    spec: Spec | str | Path, overrides: Sequence[str] = (), *, resume: bool = False
) -> Result:
    """Train the network of ``spec`` on as many processes as the launcher started, and return the outcome.

    With ``resume`` training continues at the step after the newest checkpoint of the run folder. Mistakes of
    the user raise UserError.
    """
    from mplug2.build.compose import compose

    spec = spec if isinstance(spec, Spec) else read_spec(spec, overrides)
    # Everything that can be refused is refused before weights and folders are made.
    check(spec).raise_if_bad()
    plan = training_plan(spec)
    if not plan.iteration:
        raise nothing_to_train(spec)
    types = check_stages(spec, required=True).raise_if_bad().types
    check_engine(spec.train)
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    loaders = training_loaders(spec, types, plan)
    # Built before the network, so that a mistake in their data is reported within seconds.
    evaluations = {}
    for evaluation in plan.evaluations:
        if evaluation.train_split is not None:
            loader = eval_loader(spec, types, evaluation, evaluation.train_split)
            evaluations[evaluation.name] = loader
    # The same first weights on all ranks.
    seed_everything(spec.train["seed"])
    # A new run makes its folder later, in the trainer, when nothing can be refused any more.
    last = open_run_folder(spec, resume)[0] if resume else None
    if last is not None:
        check_trained_vocabulary(spec, last)
    # A checkpoint holds all weights: the files that `init` names may no longer exist.
    net = compose(spec, initial=last is None, drawn=last is None)
    main_loader = loaders[plan.main_batch]
    # Rewards such as CIDEr-D count words in the training data.
    net.attach_data(main_loader.source, main_loader.decode)
    # Stored with the weights, whose embedding rows mean these words.
    vocabularies = describe_vocabularies(spec)
    trainer = Trainer(
        net,
        loaders,
        evaluations,
        main_loader.decode,
        resume=resume,
        vocabularies=vocabularies,
    )
    return trainer.run()


@distributed.lost_rank_named()
@run_locks()
def fit(
    net: Any,
    loaders: Any,
    evaluation_loaders: Mapping[str, Any] | None = None,
    *,
    decode: Decode = str,
    resume: bool = False,
) -> Result:
    """Train a composed ``net`` on your loaders; `train` does this with everything built from a spec.

    ``loaders`` is the loader of each batch by name, or the only one (docs/extending/loader.md).
    ``evaluation_loaders``: loaders by the names of the spec's evaluations; the name is '' in the short form.
    """
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    # A single loader is that of the only batch of the short form.
    loaders = loaders if isinstance(loaders, Mapping) else {"train": loaders}
    check_fit_arguments(net, loaders, evaluation_loaders)
    return Trainer(net, loaders, evaluation_loaders or {}, decode, resume=resume).run()
