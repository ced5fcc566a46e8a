"""Arrow tables with images and texts, as the programs of ViLT and VLMo write them."""
