"""What an unknown key of a settings section probably means: a key of another section or program."""

from __future__ import annotations

from registry.language.schema import SETTINGS

# Names of other training programs, and what they are here.
FOREIGN_NAMES = {
    "best_metric": "train.select",
    "metric_for_best_model": "train.select",
    "monitor": "train.select",
    "learning_rate": "train.lr",
    "max_lr": "train.lr",
    "lr_scheduler_type": "train.schedule",
    "lr_scheduler": "train.schedule",
    "scheduler": "train.schedule",
    "max_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "num_train_epochs": "train.epochs",
    "max_steps": "train.steps",
    "per_device_train_batch_size": "train.batch",
    "gradient_accumulation_steps": "train.accumulate",
    "accumulate_grad_batches": "train.accumulate",
    "warmup_steps": "train.warmup",
    "max_grad_norm": "train.clip",
    "gradient_clip_val": "train.clip",
    "grad_clip": "train.clip",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "amp": "train.precision",
    "output_dir": "train.out",
    "logging_steps": "train.log_every",
    "save_steps": "train.save_every",
    "eval_steps": "train.eval_every",
    "save_total_limit": "train.keep",
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
