"""A LoRA adapter with random weights for the tiny Llama, as PEFT would have saved it."""

from __future__ import annotations

import json
import random
import struct
from array import array
from pathlib import Path

_RANK = 8
_OUTPUTS = {"q_proj": 256, "v_proj": 128}
_HIDDEN = 256
_LAYERS = 4


def write_adapter(folder: Path, seed: int = 1) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors`."""
    chance = random.Random(seed)
    tensors: dict[str, tuple[list[int], array[float]]] = {}
    for layer in range(_LAYERS):
        for module, outputs in _OUTPUTS.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            for part, shape in (("lora_A", [_RANK, _HIDDEN]), ("lora_B", [outputs, _RANK])):
                weights = array("f", (chance.gauss(0, 0.1) for _ in range(shape[0] * shape[1])))
                tensors[f"{name}.{part}.weight"] = shape, weights
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny-llama",
        "r": _RANK,
        "lora_alpha": 2 * _RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(_OUTPUTS),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(_safetensors(tensors))


def _safetensors(tensors: dict[str, tuple[list[int], array[float]]]) -> bytes:
    """The file format of safetensors: the length of a JSON header, the header, the data in its order."""
    header: dict[str, object] = {}
    at = 0
    for name, (shape, weights) in tensors.items():
        size = len(weights) * weights.itemsize
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(weights.tobytes() for _, weights in tensors.values())
