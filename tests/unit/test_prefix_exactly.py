"""A request -> the tokens that the engine makes of it, or why they cannot be known."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from array import array
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from extproc.api.body import parse
from extproc.api.requests import Endpoint
from extproc.prefix.exact import ExactPrompt, Inexact, MediaRun
from extproc.prefix.media_runs import MediaRuns
from extproc.prefix.tokenizer import BadModelFolder, load_model
from extproc.prefix.tokenizer.exactly import TokenizedModel, fingerprint_exactly
from tests.unit.tiny_model import PARTS, STRING, byte_level, write_folder

TOKENIZER = byte_level()
ENGINE = "/models/tiny"


def made(folder: Path, template: str | None = PARTS, **files: Any) -> TokenizedModel:
    return load_model("m", write_folder(folder, template, tokenizer=TOKENIZER, **files), ENGINE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TokenizedModel:
    return made(tmp_path_factory.mktemp("parts"))


def ids(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False).ids)


def exactly(
    model: TokenizedModel, body: dict[str, Any], runs: MediaRuns | None = None, **options: Any
) -> ExactPrompt | Inexact:
    endpoint = Endpoint.COMPLETIONS if "prompt" in body else Endpoint.CHAT_COMPLETIONS
    request = parse(endpoint, json.dumps({"model": "m", **body}).encode())
    return fingerprint_exactly(request, model, MediaRuns() if runs is None else runs, **options)


def asked(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}], **fields}


def image(size: tuple[int, int] = (8, 6), colour: int = 0, encoding: str = "PNG") -> dict[str, Any]:
    content = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(content, encoding)
    url = "data:image/png;base64," + b64encode(content.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def prompt(found: ExactPrompt | Inexact) -> ExactPrompt:
    assert isinstance(found, ExactPrompt)
    return found


def test_a_chat_becomes_the_templates_tokens(model: TokenizedModel) -> None:
    found = prompt(exactly(model, asked("the quick <|im_end|>")))
    assert found.ids.tolist() == ids("<|im_start|>user\nthe quick <|im_end|><|im_end|>\n<|im_start|>assistant\n")
    assert found.complete and not found.media


def test_salt_and_adapter_go_along(model: TokenizedModel) -> None:
    found = prompt(exactly(model, asked("x", cache_salt="own"), lora="sql"))
    assert (found.lora, found.cache_salt) == ("sql", "own")
    assert prompt(exactly(model, asked("x", cache_salt="own"), cache_salt="set")).cache_salt == "set"


def test_a_bare_prompt_is_text_or_ids(model: TokenizedModel) -> None:
    assert prompt(exactly(model, {"prompt": "fox"})).ids.tolist() == ids("fox")
    assert prompt(exactly(model, {"prompt": [5, 6, 7]})).ids.tolist() == [5, 6, 7]
    assert prompt(exactly(model, {"prompt": [[5], [6]]})).ids.tolist() == [5]


def test_tools_are_written_with_the_fields_that_the_engine_knows(tmp_path: Path) -> None:
    model = made(tmp_path, STRING)
    tool = {"function": {"parameters": {"ü": 1}, "name": "f", "new": 1}, "type": "function"}
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    written = '{"type": "function", "function": {"name": "f", "description": null, "parameters": {"ü": 1}}}\n'
    assert prompt(exactly(model, body)).ids.tolist()[: len(ids(written))] == ids(written)


class Watched(MediaRuns):
    """Remembers which images it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[int, int]]] = []

    def saw(self, identifier: str, size: tuple[int, int], model: str) -> None:
        super().saw(identifier, size, model)
        self.seen.append((identifier, size))


def learned(model: TokenizedModel, runs: MediaRuns, part: dict[str, Any], tokens: int) -> str:
    """Teaches the run of an image as an engine's event would; returns its name."""
    watched = Watched()
    exactly(model, asked(part), watched)
    ((name, _),) = watched.seen
    runs.learn(name, tokens, array("I", [model.image_token or 0] * tokens))
    return name


def test_an_image_takes_the_run_that_the_engine_reported(model: TokenizedModel) -> None:
    runs = MediaRuns()
    name = learned(model, runs, image(), 5)
    found = prompt(exactly(model, asked(image(), "fox"), runs))
    before = ids("<|im_start|>user\n")
    assert found.media == (MediaRun(len(before), 5, name),)
    assert found.ids.tolist() == before + ids("<image>") * 5 + ids("fox<|im_end|>\n<|im_start|>assistant\n")


def test_an_image_never_seen_takes_the_run_of_its_size(model: TokenizedModel) -> None:
    runs = MediaRuns()
    exactly(model, asked(image()), runs)
    learned(model, runs, image(), 5)
    found = prompt(exactly(model, asked(image(colour=1), image(colour=2)), runs))
    assert found.complete and [run.length for run in found.media] == [5, 5]
    assert len({run.identifier for run in found.media}) == 2


def test_the_prompt_stops_in_front_of_an_image_of_unknown_length(model: TokenizedModel) -> None:
    runs = MediaRuns()
    learned(model, runs, image(), 5)
    for why in (Inexact.NEW_IMAGE, Inexact.UNKNOWN_RUN):  # the second time it may have been cached
        found = prompt(exactly(model, asked(image(), "fox", image(size=(9, 9)), "hello"), runs))
        assert (found.complete, found.cut_by) == (False, why)
        assert found.ids.tolist() == ids("<|im_start|>user\n") + ids("<image>") * 5 + ids("fox")


@pytest.mark.parametrize(
    ("images", "run_tokens"),
    [
        ([image(size=(9, 9))], 7),
        ([image(size=(9, 9)), image(), image(size=(9, 9), colour=1)], 7),
        ([image(size=(9, 9)), image(size=(8, 8))], None),
        ([image(size=(9, 9)), {"type": "image_url", "image_url": {"url": "https://h/i.png"}}], None),
    ],
    ids=["one", "two of a size beside a known one", "two sizes", "beside one behind a URL"],
)
def test_the_engines_count_tells_how_long_an_image_is(
    model: TokenizedModel, images: list[dict[str, Any]], run_tokens: int | None
) -> None:
    runs, body = MediaRuns(), asked(*images, "fox")
    learned(model, runs, image(), 5)
    found = prompt(exactly(model, body, runs))
    if run_tokens is None:
        assert found.unmeasured is None
        return
    assert found.unmeasured is not None
    count = found.unmeasured.other_tokens + run_tokens * len(found.unmeasured.identifiers)
    assert found.unmeasured.run(count + 1) == (None if len(images) > 1 else array("I", [model.image_token or 0] * 8))
    run = found.unmeasured.run(count)
    assert run is not None
    for identifier in found.unmeasured.identifiers:
        runs.learn(identifier, len(run), run)
    whole = prompt(exactly(model, body, runs))
    assert whole.complete and len(whole.ids) == count


def test_images_behind_an_unknown_one_are_learned_of_all_the_same(model: TokenizedModel) -> None:
    runs = Watched()
    exactly(model, asked(image(size=(3, 3)), image(size=(4, 4))), runs)
    assert [size for _, size in runs.seen] == [(3, 3), (4, 4)]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "image_url", "image_url": {"url": "https://h/i.png"}}, Inexact.REMOTE_MEDIA),
        (image(encoding="BMP"), Inexact.UNKNOWN_IMAGE),
    ],
)
def test_the_prompt_stops_in_front_of_an_image_that_only_the_engine_knows(
    model: TokenizedModel, part: dict[str, Any], why: Inexact
) -> None:
    found = prompt(exactly(model, asked("fox", part, "x")))
    assert (found.complete, found.cut_by) == (False, why)
    assert found.ids.tolist() == ids("<|im_start|>user\nfox")


def test_a_uuid_is_identity_where_the_engine_gets_it(model: TokenizedModel) -> None:
    runs = MediaRuns()
    runs.learn("mine", 2, array("I", [3, 3]))
    named = {**image(), "uuid": "mine"}
    alone = {"type": "image_url", "image_url": None, "uuid": "mine"}
    assert [prompt(exactly(model, asked(part), runs)).media[0].identifier for part in (named, alone)] == ["mine"] * 2


def test_a_uuid_that_the_gateway_takes_out_changes_nothing(model: TokenizedModel) -> None:
    runs = MediaRuns()
    name = learned(model, runs, image(), 2)
    named = {**image(), "uuid": "mine"}
    alone = {"type": "image_url", "image_url": None, "uuid": "mine"}
    for part in (named, alone):
        found = prompt(exactly(model, asked(part), runs, engine_uuid={"mine": name}.__getitem__))
        assert found.media[0].identifier == name


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (asked("x", chat_template="{{ 1 }}"), Inexact.FIELD),
        (asked("x", mm_processor_kwargs={"a": 1}), Inexact.FIELD),
        (asked("x", truncate_prompt_tokens=3), Inexact.FIELD),
        (asked("x", chat_template_kwargs={"tokenize": True}), Inexact.FIELD),
        (asked({"type": "new", "x": 1}), Inexact.FIELD),
        (asked({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}), Inexact.AUDIO_OR_VIDEO),
        (asked("x", continue_final_message=True), Inexact.TEMPLATE),
        ({"prompt": [-1]}, Inexact.FIELD),
        ({"prompt": "x", "suffix": "y"}, Inexact.FIELD),
    ],
)
def test_what_is_not_followed_is_said(model: TokenizedModel, body: dict[str, Any], why: Inexact) -> None:
    assert exactly(model, body) is why


def test_other_endpoints_are_not_followed(model: TokenizedModel) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    request = parse(Endpoint.MESSAGES, json.dumps(body).encode())
    assert fingerprint_exactly(request, model, MediaRuns()) is Inexact.ENDPOINT


def test_models_of_another_make_are_not_followed(tmp_path: Path) -> None:
    template_less = made(tmp_path / "a", None)
    assert exactly(template_less, asked("x")) is Inexact.MODEL
    assert isinstance(exactly(template_less, {"prompt": "x"}), ExactPrompt)
    harmony = made(tmp_path / "b", model={"model_type": "gpt_oss"})
    assert exactly(harmony, asked("x")) is Inexact.MODEL
    unknown = made(tmp_path / "c", model={"model_type": "new", "image_token_id": 3})
    assert exactly(unknown, asked(image())) is Inexact.MODEL


def test_too_much_new_text_is_not_tokenised_on_the_way(model: TokenizedModel) -> None:
    text = "never seen before " * 80_000
    assert exactly(model, asked(text)) is Inexact.TOO_LONG
    assert exactly(model, {"prompt": text}) is Inexact.TOO_LONG


def test_a_tool_call_with_half_a_character_is_no_prompt(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "\\ud800"}'}}
    body = {"messages": [{"role": "assistant", "content": "x", "tool_calls": [call]}]}
    assert exactly(made(tmp_path, STRING), body) is Inexact.TEMPLATE


def test_a_bad_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModelFolder, match="not valid"):
        made(tmp_path, "{% for %}")


def test_nothing_heavy_is_imported_before_a_model_is_loaded() -> None:
    code = "import sys, extproc.prefix.tokenizer, extproc.prefix; print({'tokenizers', 'jinja2'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
