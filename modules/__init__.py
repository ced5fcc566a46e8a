"""Floor 2: interchangeable modules and operations. Only their names are known here; nothing is imported."""

from registry import MODULES, OPERATIONS

for _name, _target in {
    "image_vit": "modules.vit:ImageViT",
    "video_vit": "modules.vit:VideoViT",
    "timm": "modules.timm_backbone:TimmBackbone",
    "text_embedding": "modules.text:TextEmbedding",
    "text_encoder": "modules.text:TextEncoder",
    "universal": "modules.universal:Universal",
    "fusion": "modules.fusion:Fusion",
    "text_decoder": "modules.decoder:TextDecoder",
    "project": "modules.heads:Project",
    "class_head": "modules.heads:ClassHead",
    "value_head": "modules.heads:ValueHead",
    "feature_head": "modules.heads:FeatureHead",
    "feature_queue": "modules.queue:FeatureQueue",
    "contrastive": "modules.losses.contrastive:Contrastive",
    "hard_negatives": "modules.negatives:HardNegatives",
}.items():
    MODULES.register(_name, _target)

for _name, _target in {
    "concat": "modules.ops:concat",
    "split": "modules.ops:split",
    "take": "modules.ops:take",
    "gather_rows": "modules.ops:gather_rows",
    "weighted_sum": "modules.ops:weighted_sum",
    "select_labelled": "modules.selection:select_labelled",
    "select_masked": "modules.selection:select_masked",
    "softmax": "modules.scores:softmax",
    "standardize": "modules.scores:standardize",
    "mix_rows": "modules.scores:mix_rows",
    "encode_boxes": "modules.boxes:encode_boxes",
    "decode_boxes": "modules.boxes:decode_boxes",
    "box_loss": "modules.boxes:box_loss",
    "box_search": "modules.boxes:box_search",
    "lm_loss": "modules.losses.text:lm_loss",
    "cross_entropy": "modules.losses.text:cross_entropy",
    "mse_loss": "modules.losses.regression:mse_loss",
    "token_loss": "modules.losses.token_loss:token_loss",
    "beam_search": "modules.search.beam:beam_search",
    "greedy_search": "modules.search.beam:greedy_search",
    "rank_answers": "modules.search.rank:rank_answers",
    "sample_search": "modules.search.sample:sample_search",
    "score_sequences": "modules.search.rescore:score_sequences",
    "self_critical": "modules.losses.self_critical:self_critical",
}.items():
    OPERATIONS.register(_name, _target)
