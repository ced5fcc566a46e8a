"""The optimizers of `train.optimizer`: factories over parameter groups, Lion, and Muon with AdamW."""
