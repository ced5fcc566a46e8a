"""What an unknown key of a settings section probably means: a key of another section or program."""

from __future__ import annotations

from registry.language.schema import SETTINGS

# Names of other training programs, and what they are here.
FOREIGN_NAMES = {
    "metric_for_best_model": "train.best_metric",
    "monitor": "train.best_metric",
    "learning_rate": "train.lr",
    "max_lr": "train.lr",
    "lr_scheduler_type": "train.schedule",
    "lr_scheduler": "train.schedule",
    "scheduler": "train.schedule",
    "max_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "num_train_epochs": "train.epochs",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.grad_accumulation_steps",
    "accumulate_grad_batches": "train.grad_accumulation_steps",
    "warmup_steps": "train.warmup",
    "gradient_clip_val": "train.max_grad_norm",
    "grad_clip": "train.max_grad_norm",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "amp": "train.precision",
    "logging_steps": "train.log_every",
    "save_steps": "train.save_every",
    "eval_steps": "train.eval_every",
    "save_total_limit": "train.keep_last",
    "num_workers": "data.workers",
    "dataloader_num_workers": "data.workers",
    "vocabulary": "data.tokenizer",
    "ema_decay": "momentum.decay",
}


def setting_hint(section: str, name: str) -> str:
    """Return the setting that an unknown key of a section means elsewhere; '' if none is known."""
    if name in FOREIGN_NAMES:
        target, _, key = FOREIGN_NAMES[name].partition(".")
        return f"it is called `{key}` here: `{target}: {{{key}: ...}}`"
    for other, schema in SETTINGS.items():
        if other != section and name in schema:
            return f"'{name}' is a key of '{other}': `{other}: {{{name}: ...}}`"
    return ""
