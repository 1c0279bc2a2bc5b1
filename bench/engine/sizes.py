"""How large everything is for a model: fixed before the measured runs, and the same for all variants.

What matters is how many prompts a cache holds, not how many tokens: the published set-up's caps of 3072 and 2560 blocks
of 16 tokens hold 6.7 and 5.6 of its images. The tiny model's caps keep those ratios.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.engine.loads import ChatLoad

TINY = "tiny-llava"
REFERENCE = "llava-hf/llava-onevision-qwen2-7b-ov-hf"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one model's experiments.

    Args:
        block_size: tokens in a block of the engine's KV cache.
        image_tokens: the name of the gateway's token rule, or a number.
        passage_words: of text about each image, which comes after it and stays the same.
        question_words: of text that no two requests have in common.
        output_tokens: of every answer.
        max_model_len: tokens that the engine takes at most.
        affinity_blocks: of each replica; about 8 of 12 prompts.
        offload_blocks: the two caps; about 6.7 and 5.6 prompts.
        roomy_blocks: more than all prompts of an experiment.
        chunk_tokens: of LMCache.
        l1_gb: of LMCache, enough for all prompts.
        l1_staging_gb: of LMCache where Redis keeps the KV: for what is on its way.
        chat: what the outside load generator does.
        chat_blocks: of each replica meanwhile; about half of the histories.
        load_format: of the weights.
    """

    block_size: int
    image_tokens: str | int
    passage_words: int
    question_words: int
    output_tokens: int
    max_model_len: int
    affinity_blocks: int
    offload_blocks: tuple[int, int]
    roomy_blocks: int
    chunk_tokens: int
    l1_gb: float
    l1_staging_gb: float
    chat: ChatLoad
    chat_blocks: int
    load_format: str

    def quick(self) -> Sizes:
        """For four images instead of 12 or 40: caches that hold about three and two prompts, and a short chat."""
        few = [self.offload_blocks[1] * 10 // 28, self.offload_blocks[1] * 10 // 19]
        chat = replace(self.chat, users=3, duration_s=6.0)
        return replace(self, affinity_blocks=few[1], offload_blocks=(few[1], few[0]), chat=chat)


_SIZES = {
    # An image is 664 tokens here, a tenth of the reference's: a passage makes up for some of that.
    TINY: Sizes(
        block_size=128,
        image_tokens=664,
        passage_words=800,
        question_words=12,
        output_tokens=8,
        max_model_len=4096,
        affinity_blocks=204,
        offload_blocks=(161, 134),
        roomy_blocks=1200,
        chunk_tokens=256,
        l1_gb=1.0,
        l1_staging_gb=0.1,
        chat=ChatLoad(9, 400, 1200, 30, 12, 3.0, 30.0),
        chat_blocks=112,
        load_format="auto",
    ),
    REFERENCE: Sizes(
        block_size=16,
        image_tokens="llava_onevision",
        passage_words=0,
        question_words=12,
        output_tokens=16,
        max_model_len=16384,
        affinity_blocks=3700,
        offload_blocks=(3072, 2560),
        roomy_blocks=20000,
        chunk_tokens=256,
        l1_gb=24.0,
        l1_staging_gb=8.0,
        chat=ChatLoad(15, 2000, 10000, 50, 64, 3.0, 60.0),
        chat_blocks=6000,
        load_format="dummy",
    ),
}


def sizes_of(model: str) -> Sizes:
    """Of a model by its name or path; what is not known is taken to be like the reference."""
    return _SIZES.get(model.rstrip("/").rpartition("/")[2], _SIZES.get(model, _SIZES[REFERENCE]))
