"""A Llava-OneVision of five million parameters: `python -m tools.engine.models.tiny_llava FOLDER`.

It is what llava-onevision-qwen2-7b-ov-hf is, a SigLIP tower in front of a Qwen2 with `anyres` tiles, but small. An
image of 300 x 300 pixels is 664 tokens.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.llava_onevision.image_processing_llava_onevision import LlavaOnevisionImageProcessor
from transformers.models.llava_onevision.video_processing_llava_onevision import LlavaOnevisionVideoProcessor

from tools.engine.models.tokenizer import END_OF_TURN, IMAGE, MAX_TOKENS, PADDING, VIDEO, VOCABULARY, tiny_tokenizer

TILE_PIXELS = 112
PATCH_PIXELS = 14
_TILES = [[TILE_PIXELS * high, TILE_PIXELS * wide] for high in range(1, 4) for wide in range(1, 4)]


def build(folder: Path) -> None:
    """Writes model, tokenizer and image processor; the weights are the same each time."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    image, video, end, padding = tokenizer.convert_tokens_to_ids([IMAGE, VIDEO, END_OF_TURN, PADDING])
    vision = SiglipVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=TILE_PIXELS,
        patch_size=PATCH_PIXELS,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=padding,
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image,
        image_token_id=image,
        video_token_index=video,
        video_token_id=video,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        vision_aspect_ratio="anyres_max_9",
        image_grid_pinpoints=_TILES,
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )
    config.dtype = "bfloat16"
    LlavaOnevisionForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    _name_the_vision_tower_as_vllm_does(folder / "model.safetensors")

    tile = {"height": TILE_PIXELS, "width": TILE_PIXELS}
    LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=tile, image_grid_pinpoints=_TILES),
        video_processor=LlavaOnevisionVideoProcessor(size=tile),
        tokenizer=tokenizer,
        num_image_tokens=(TILE_PIXELS // PATCH_PIXELS) ** 2,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)


def _name_the_vision_tower_as_vllm_does(path: Path) -> None:
    """transformers 5 saves `vision_tower.embeddings`; vLLM 0.32 loads `vision_tower.vision_model.embeddings`."""
    weights = {}
    for name, tensor in load_file(path).items():
        if "vision_tower." in name and "vision_model." not in name:
            name = name.replace("vision_tower.", "vision_tower.vision_model.")
        weights[name] = tensor.contiguous()
    save_file(weights, path, metadata={"format": "pt"})


if __name__ == "__main__":
    build(Path(sys.argv[1]))
