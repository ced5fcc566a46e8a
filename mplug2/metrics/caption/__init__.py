"""What a generated caption is worth against its references: BLEU, METEOR, ROUGE-L, CIDEr, CIDEr-D, SPICE."""
