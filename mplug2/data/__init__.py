"""Reading videos, images and annotations into batches; importing this package imports nothing heavy."""
