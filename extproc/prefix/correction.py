"""How many tokens a model really makes of a prompt, learned from what its engine counted.

Estimates start from bytes per token and a family's image rule (`tokens.py`). What an engine reports corrects both by a
factor: one for text, one for images, and one for each size of image that was seen. Where blocks are cut never changes,
or no prompt would find its cache again; only what they weigh does.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_STEP = 0.1
"""How far one answer moves a factor towards what it said."""
_SURPRISE = 1.5
"""An answer counts as at most that factor away from what was expected: a lie moves little, a truth that lasts wins."""
_FLOOR, _CEILING = 1 / 16, 16.0
_MAX_SIZES = 256
_SIGNIFICANT_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Content:
    """What a prompt is made of, in tokens as first estimated.

    Args:
        text_tokens: of all text.
        images: (width, height) in pixels and tokens of each; (0, 0) where the size is unknown.
        other_tokens: token ids, whose count is known, and media for which nothing is learned.
    """

    text_tokens: float = 0.0
    images: tuple[tuple[tuple[int, int], int], ...] = ()
    other_tokens: float = 0.0


NOTHING = Content()


class Correction:
    """The factors of one model; all 1 at first."""

    def __init__(self) -> None:
        self.text = 1.0
        self.image = 1.0
        self._sizes: OrderedDict[tuple[int, int], float] = OrderedDict()

    def image_tokens(self, size: tuple[int, int], estimated: int) -> int:
        """Tokens of an image, at least 1."""
        return max(1, round(estimated * self._sizes.get(size, self.image)))

    def learn(self, content: Content, prompt_tokens: int) -> None:
        """The engine counted so many tokens in a prompt of this content."""
        text = self.text * content.text_tokens
        image = float(sum(self.image_tokens(size, estimated) for size, estimated in content.images))
        actual = prompt_tokens - content.other_tokens
        if actual <= 0 or text + image < _SIGNIFICANT_TOKENS:
            return
        if not content.images:
            self.text = _moved(self.text, actual / content.text_tokens)
        elif image >= text:
            self._learn_images(content.images, max(1.0, actual - text))

    def _learn_images(self, images: tuple[tuple[tuple[int, int], int], ...], actual: float) -> None:
        estimated = sum(tokens for _, tokens in images)
        seen = actual / max(1, estimated)
        self.image = _moved(self.image, seen)
        sizes = {size for size, _ in images}
        if len(sizes) == 1 and (0, 0) not in sizes:
            size = sizes.pop()
            self._sizes[size] = _moved(self._sizes.get(size, self.image), seen)
            self._sizes.move_to_end(size)
            if len(self._sizes) > _MAX_SIZES:
                self._sizes.popitem(last=False)


def _moved(factor: float, seen: float) -> float:
    seen = min(max(seen, factor / _SURPRISE), factor * _SURPRISE)
    return min(max(factor + _STEP * (seen - factor), _FLOOR), _CEILING)


UNCORRECTED = Correction()
"""For a model of which nothing is known. Not to be taught."""
