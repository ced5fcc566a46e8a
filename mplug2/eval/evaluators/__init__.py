"""The evaluators that ship: generation, classification, regression, boxes, perplexity, retrieval,
zero-shot classes."""
