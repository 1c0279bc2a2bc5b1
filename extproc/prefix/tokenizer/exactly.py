"""A request -> the very tokens that the engine will make of it.

No engine is asked. What cannot be known is said (`Inexact`), and up to where the prompt is known it is given.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extproc.api.requests import Endpoint, InferenceRequest, Media, Text, TokenIds
from extproc.prefix.exact import ExactPrompt, Inexact
from extproc.prefix.media import Identities
from extproc.prefix.media_runs import MediaRuns
from extproc.prefix.tokenizer.conversation import UnknownPart, turns, without_developers
from extproc.prefix.tokenizer.folder import BadModelFolder, ModelFolder, read_folder
from extproc.prefix.tokenizer.images import PlacedImages
from extproc.prefix.tokenizer.template import ChatTemplate, TemplateRefused
from extproc.prefix.tokenizer.vocabulary import BadTokenizer, Vocabulary

_PLACEHOLDERS = {
    "llava": "<image>",
    "llava_next": "<image>",
    "llava_onevision": "<image>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl_moe": "<|vision_start|><|image_pad|><|vision_end|>",
}
"""What vLLM writes for an image into a content that is a string (`get_placeholder_str` of each model), for the models
that replace one token of it by the image's run."""

_NOT_FOLLOWED = (
    *("chat_template", "mm_processor_kwargs", "media_io_kwargs", "truncate_prompt_tokens", "kv_transfer_params"),
    *("prompt_embeds", "suffix"),
)
_OWN_VARIABLES = frozenset(
    ("chat_template", "tokenize", "tools", "conversation", "messages", "padding", "truncation", "max_length")
) | frozenset(("return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"))
"""Template variables by which a client would get at the renderer itself."""
_OWN_FIELDS = frozenset(("add_generation_prompt", "continue_final_message", "documents"))
"""Template variables that are fields of the body, and win as such."""


@dataclass(frozen=True, slots=True)
class TokenizedModel:
    """A model whose prompts can be made here.

    Args:
        engine_model: what the engine was given as its model, a path or a name of the hub; part of images' names.
        image_token: the id in whose place an image's run goes; None if images are not followed.
        placeholder: what stands for an image in a content that is a string.
        template_variables: what the engine's `--default-chat-template-kwargs` sets.
        max_new_bytes: of text never seen before; with more a request is not tokenised. About 3 MB take a second, in
            which other threads may run.
    """

    name: str
    engine_model: str
    vocabulary: Vocabulary
    template: ChatTemplate | None
    tool_template: ChatTemplate | None
    image_token: int | None = None
    placeholder: str = ""
    own_renderer: bool = False
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    max_new_bytes: int = 1 << 18


def read_model(name: str, folder: Path, engine_model: str, memory_bytes: int) -> TokenizedModel:
    """See `extproc.prefix.tokenizer.load_model`.

    Raises:
        BadModelFolder: a file is missing or broken.
    """
    files = read_folder(folder)
    try:
        vocabulary = Vocabulary(files, memory_bytes)
        template = _template(files.template, files)
        same = files.tool_template == files.template
        tool_template = template if same else _template(files.tool_template, files)
    except (BadTokenizer, TemplateRefused) as error:
        raise BadModelFolder(f"{folder}: {error}") from None
    placeholder = _PLACEHOLDERS.get(files.model_type, "")
    return TokenizedModel(
        name=name,
        engine_model=engine_model,
        vocabulary=vocabulary,
        template=template,
        tool_template=tool_template,
        image_token=files.image_token_id if placeholder else None,
        placeholder=placeholder,
        own_renderer=files.own_renderer,
    )


def _template(source: str | None, files: ModelFolder) -> ChatTemplate | None:
    return None if source is None else ChatTemplate(source, files.named_tokens)


def fingerprint_exactly(
    request: InferenceRequest,
    model: TokenizedModel,
    runs: MediaRuns,
    *,
    lora: str = "",
    cache_salt: str | None = None,
    identities: Identities | None = None,
    engine_uuid: Callable[[str], str] | None = None,
) -> ExactPrompt | Inexact:
    """The prompt as the engine will see it, or why that cannot be said.

    Args:
        lora: the adapter's name, if the request is for one.
        cache_salt: what the gateway sets in the body; None: the body's own.
        identities: of the request's media, if others ask for them, too.
        engine_uuid: what the gateway writes for a client's uuid that comes without data; it is also what says that a
            uuid beside data is taken out. None: uuids go to the engine as they are.

    Raises:
        BadRequest: a media payload is not base64.
    """
    if any(request.fields.get(name) is not None for name in _NOT_FOLLOWED):
        return Inexact.FIELD
    salt = (request.cache_salt or "") if cache_salt is None else cache_salt
    if request.endpoint is Endpoint.COMPLETIONS:
        ids = _bare(request, model)
        return ids if isinstance(ids, Inexact) else ExactPrompt(ids, (), lora, salt)
    if request.endpoint is not Endpoint.CHAT_COMPLETIONS:
        return Inexact.ENDPOINT
    ids = _chat(request, model)
    if isinstance(ids, Inexact):
        return ids
    images = [part for message in request.messages for part in message.parts if isinstance(part, Media)]
    if not images:
        return ExactPrompt(ids, (), lora, salt)
    if model.image_token is None:
        return Inexact.MODEL
    placed = PlacedImages(model.engine_model, runs, identities or Identities(), engine_uuid)
    placed.put_in(ids, model.image_token, images)
    return ExactPrompt(
        placed.ids, tuple(placed.media), lora, salt, placed.cut_by is None, placed.cut_by, placed.unmeasured
    )


def _bare(request: InferenceRequest, model: TokenizedModel) -> array[int] | Inexact:
    """A prompt that no template wraps; of several, the first."""
    match request.messages[0].parts:
        case (Text(text),):
            return _encoded(text, model, framed=request.fields.get("add_special_tokens") is not False)
        case (TokenIds(ids),):
            try:
                return array("I", ids)
            except OverflowError:
                return Inexact.FIELD
    return Inexact.FIELD


def _chat(request: InferenceRequest, model: TokenizedModel) -> array[int] | Inexact:
    fields = request.fields
    tools = fields.get("tools")
    template = model.tool_template if isinstance(tools, list) else model.template
    if model.own_renderer or template is None:
        return Inexact.MODEL
    given = fields.get("chat_template_kwargs") or {}
    if not isinstance(given, dict) or not _OWN_VARIABLES.isdisjoint(given):
        return Inexact.FIELD
    if any(part.kind != "image" for message in request.messages for part in message.parts if isinstance(part, Media)):
        return Inexact.AUDIO_OR_VIDEO
    try:
        conversation = turns(fields["messages"], template.content_format, model.placeholder)
        if not template.knows_developers:
            conversation = without_developers(conversation)
        text = template.render(
            conversation,
            tools=_tools(tools),
            documents=_set(fields, "documents", given.get("documents")),
            add_generation_prompt=bool(_set(fields, "add_generation_prompt", True)),
            continue_final_message=bool(_set(fields, "continue_final_message", False)),
            variables={**model.template_variables, **_variables(fields, given)},
        )
    except UnknownPart:
        return Inexact.FIELD
    except TemplateRefused:
        return Inexact.TEMPLATE
    return _encoded(text, model, framed=fields.get("add_special_tokens") is True)


def _encoded(text: str, model: TokenizedModel, *, framed: bool) -> array[int] | Inexact:
    try:
        ids = model.vocabulary.encode(text, framed=framed, max_new_bytes=model.max_new_bytes)
    except UnicodeEncodeError:  # a lone surrogate, from the arguments of a tool call
        return Inexact.TEMPLATE
    return Inexact.TOO_LONG if ids is None else ids


def _set(fields: Mapping[str, Any], name: str, default: object) -> Any:
    value = fields.get(name)
    return default if value is None else value


def _variables(fields: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    variables = {name: value for name, value in given.items() if name not in _OWN_FIELDS}
    effort = fields.get("reasoning_effort")
    if effort is not None:
        variables["reasoning_effort"] = effort
        # An effort asks for thoughts, of models that have to be told.
        variables.setdefault("enable_thinking", effort != "none")
    return variables


def _tools(tools: object) -> list[Any] | None:
    """Tool definitions with the fields that vLLM knows, in its order; a missing description is null."""
    if not isinstance(tools, list):
        return None
    return [_tool(tool) for tool in tools]


def _tool(tool: object) -> dict[str, Any]:
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        raise TemplateRefused("a tool without a function")
    given = tool["function"]
    deferred = tool.get("defer_loading")
    function = {name: given.get(name) for name in ("name", "description", "parameters")}
    function |= {name: given[name] for name in ("strict", "defer_loading") if given.get(name) is not None}
    if deferred is not None:
        function.setdefault("defer_loading", deferred)
    dumped = {"type": tool.get("type", "function"), "function": function}
    return dumped if deferred is None else {**dumped, "defer_loading": deferred}
