"""A byte-level BPE tokenizer trained on Python's own standard library, with a ChatML template that knows images."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

VOCABULARY = 4096
MAX_TOKENS = 16_384
END_OF_TURN = "<|im_end|>"
PADDING = "<pad>"
IMAGE = "<image>"
VIDEO = "<video>"
_SPECIAL = ["<|endoftext|>", "<|im_start|>", END_OF_TURN, IMAGE, VIDEO, PADDING]
_TEXTS = 60

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] in ('image', 'image_url') -%}{{ '<image>' }}
{%- elif part['type'] in ('video', 'video_url') -%}{{ '<video>' }}
{%- elif part['type'] == 'text' -%}{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """The same one each time under the same Python version; English words and code take about four bytes a token."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:_TEXTS]
    tokenizer.train([str(text) for text in texts], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=None,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        additional_special_tokens=[token for token in _SPECIAL if token not in (END_OF_TURN, PADDING)],
    )
