"""A model's folder of a few KB, made by the test that wants it: tokenizer, chat template and config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<pad>")

PARTS = """\
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {%- if m.content is string %}
        {{- m.content }}
    {%- else %}
        {%- for p in m.content %}
            {{- '<image>' if p.type == 'image' else p.text }}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

STRING = """\
{%- if tools %}
    {%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}
{%- endif %}
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' + m.content }}
    {%- for call in m.tool_calls or [] %}{{- call.function.name ~ (call.function.arguments | tojson) }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

_TEXT = [f"{word} {other}" for word in "the quick brown fox jumps over a lazy dog" for other in ("said", "hello", "\n")]


def byte_level(special: tuple[str, ...] = SPECIAL) -> Tokenizer:
    """A byte-level BPE tokenizer with a few hundred merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return tokenizer


def write_folder(
    folder: Path,
    template: str | None = PARTS,
    *,
    tokenizer: Tokenizer | None = None,
    config: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
) -> Path:
    """The folder, made."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer or byte_level()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"} | (config or {})))
    taken = {"model_type": "llava_onevision", "image_token_index": tokenizer.token_to_id("<image>")}
    (folder / "config.json").write_text(json.dumps(taken if model is None else model))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder
