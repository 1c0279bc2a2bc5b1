"""A model's folder -> what its tokenizer, its chat template and its images are, as far as files tell.

The files are those that Hugging Face's `transformers` writes; which goes before which follows vLLM 0.32
(`renderers/hf.py`) and transformers 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


class BadModelFolder(ValueError):
    """A folder from which no prompt can be rendered; says what is missing or broken."""


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token beside the vocabulary, as `tokenizer_config.json` lists it.

    Args:
        special: recognised in any text.
    """

    content: str
    special: bool
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    single_word: bool = False


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What the files of a model say.

    Args:
        tokenizer: the text of tokenizer.json.
        template: of a chat without tools; None if the model has none.
        tool_template: of a chat with tools.
        named_tokens: what templates know as `bos_token`, `eos_token` and so on.
        added_tokens: by id, that tokenizer.json may lack.
        special_tokens: further tokens to be recognised in text.
        adds_bos: whether `bos_token` goes before a bare prompt; None: as tokenizer.json says.
        adds_eos: likewise `eos_token` behind it.
        model_type: of config.json; empty without that file.
        image_token_id: the token in whose place an image goes; None if the model takes no images.
        own_renderer: the engine renders its chats by other means than the template.
    """

    tokenizer: str
    template: str | None = None
    tool_template: str | None = None
    named_tokens: Mapping[str, str] = field(default_factory=dict)
    added_tokens: Mapping[int, AddedToken] = field(default_factory=dict)
    special_tokens: tuple[str, ...] = ()
    adds_bos: bool | None = None
    adds_eos: bool | None = None
    model_type: str = ""
    image_token_id: int | None = None
    own_renderer: bool = False


def read_folder(folder: Path) -> ModelFolder:
    """Reads the files of a model.

    Raises:
        BadModelFolder: no folder, no tokenizer.json, or a file that is not what it should be.
    """
    if not folder.is_dir():
        raise BadModelFolder(f"{folder} is not a folder")
    tokenizer = _text(folder / "tokenizer.json")
    if tokenizer is None:
        raise BadModelFolder(f"{folder} has no tokenizer.json")
    config = _json(folder / "tokenizer_config.json")
    named = _json(folder / "special_tokens_map.json") | config
    model = _json(folder / "config.json")
    template, tool_template = _templates(folder, config)
    model_type = str(model.get("model_type", ""))
    image_token_id = model.get("image_token_id", model.get("image_token_index"))
    return ModelFolder(
        tokenizer=tokenizer,
        template=template,
        tool_template=tool_template,
        named_tokens={name: text for name in NAMED_TOKENS if (text := _content(named.get(name))) is not None},
        added_tokens=_added_tokens(config),
        special_tokens=_special_tokens(named),
        adds_bos=_flag(config, "add_bos_token", "add_eos_token"),
        adds_eos=_flag(config, "add_eos_token", "add_bos_token"),
        model_type=model_type,
        image_token_id=image_token_id if isinstance(image_token_id, int) else None,
        own_renderer=model_type in _OWN_RENDERERS or (folder / "tekken.json").exists(),
    )


_OWN_RENDERERS = {"gpt_oss", "deepseek_v32", "deepseek_v4", "deepseek_v41", "kimi_k3", "kimi_audio", "inkling"}
"""Model types whose chats vLLM renders in code (`renderers/registry.py`); models with Mistral's own tokenizer, too."""


def _flag(config: Mapping[str, Any], name: str, other: str) -> bool | None:
    # transformers rebuilds the post-processor from both as soon as one of them is there.
    if name not in config and other not in config:
        return None
    return bool(config.get(name))


def _templates(folder: Path, config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Templates without and with tools. A multimodal processor's own goes first, but not when there are tools."""
    file = _text(folder / "chat_template.jinja")
    named = config.get("chat_template")
    if isinstance(named, list):
        by_name = {item["name"]: item["template"] for item in named}
    else:
        by_name = {"default": named} if isinstance(named, str) else {}
    by_name |= {path.stem: path.read_text() for path in sorted(folder.glob("additional_chat_templates/*.jinja"))}
    if file is not None:
        by_name["default"] = file
    plain = by_name.get("default")
    with_tools = by_name.get("tool_use", plain)
    if any((folder / name).exists() for name in _PROCESSOR_FILES):
        own = file or _json(folder / "chat_template.json").get("chat_template")
        own = own or _json(folder / "processor_config.json").get("chat_template")
        plain = own if isinstance(own, str) else plain
    return plain, with_tools


def _added_tokens(config: Mapping[str, Any]) -> dict[int, AddedToken]:
    listed = config.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return {}
    flags = ("special", "lstrip", "rstrip", "normalized", "single_word")
    return {
        int(token_id): AddedToken(token["content"], **{flag: bool(token.get(flag)) for flag in flags})
        for token_id, token in sorted(listed.items(), key=lambda item: int(item[0]))
    }


def _special_tokens(config: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for name in ("additional_special_tokens", "extra_special_tokens"):
        value = config.get(name)
        tokens = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        found += [text for token in tokens if (text := _content(token)) is not None]
    return tuple(dict.fromkeys(found))


def _content(token: object) -> str | None:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadModelFolder(f"{path} cannot be read: {error}") from None


def _json(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        value = json.loads(text) if text is not None else {}
    except json.JSONDecodeError as error:
        raise BadModelFolder(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadModelFolder(f"{path} must hold a JSON object")
    return value
