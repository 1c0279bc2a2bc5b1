"""A model's own files -> the text and the tokens of a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors

from extproc.prefix.tokenizer.content_format import content_format
from extproc.prefix.tokenizer.conversation import UnknownPart, turns, without_developers
from extproc.prefix.tokenizer.folder import BadModelFolder, read_folder
from extproc.prefix.tokenizer.template import ChatTemplate, TemplateRefused
from extproc.prefix.tokenizer.vocabulary import BadTokenizer, Vocabulary
from tests.unit.tiny_model import PARTS, SPECIAL, STRING, byte_level, write_folder

BYTE_LEVEL = byte_level()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path, tokenizer=BYTE_LEVEL)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary(read_folder(write_folder(tmp_path_factory.mktemp("m"), tokenizer=BYTE_LEVEL)))


@given(
    st.lists(st.sampled_from([*SPECIAL, "the quick", " fox", "\n", "<|im_", "end|>", "<", "ü漢🙂", "  "]), max_size=12)
)
def test_cut_at_special_tokens_a_text_has_the_same_tokens_as_whole(vocabulary: Vocabulary, pieces: list[str]) -> None:
    text = "".join(pieces)
    assert vocabulary.by_pieces
    assert encoded(vocabulary, text) == BYTE_LEVEL.encode(text, add_special_tokens=False).ids


def test_a_conversation_that_grew_costs_its_new_turn(folder: Path) -> None:
    vocabulary = Vocabulary(read_folder(folder))
    said = "<|im_start|>user\nhello<|im_end|>\n"
    vocabulary.encode(said)
    grown = said + "<|im_start|>user\nmore"
    assert vocabulary.encode(said, max_new_bytes=0)
    assert vocabulary.encode(grown, max_new_bytes=len(grown) - len(said) - 1) is None
    assert vocabulary.encode(grown, max_new_bytes=len(grown) - len(said))


def test_what_is_remembered_of_texts_is_bounded(folder: Path) -> None:
    vocabulary = Vocabulary(read_folder(folder), max_bytes=3_000)
    for number in range(100):
        vocabulary.encode(f"the quick brown fox number {number}")
        assert vocabulary.remembered_bytes <= 3_000
    assert vocabulary.remembered_bytes > 2_000


def test_a_tokenizer_that_looks_across_special_tokens_is_given_whole_texts(tmp_path: Path) -> None:
    tokenizer = byte_level(())
    tokenizer.add_special_tokens([AddedToken("<|x|>", lstrip=True), AddedToken("a<|x|>b")])
    vocabulary = Vocabulary(read_folder(write_folder(tmp_path, tokenizer=tokenizer, config={"eos_token": None})))
    for text in ("hello  <|x|>  there", "a<|x|>b and a<|x|>", "  <|x|><|x|>"):
        assert encoded(vocabulary, text) == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("rstrip", [False, True])
def test_other_kinds_of_tokenizers_are_exact_too(tmp_path: Path, rstrip: bool) -> None:
    tokenizer = byte_level(())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("_")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([AddedToken("<s>", rstrip=rstrip, normalized=False), AddedToken("</s>")])
    tokenizer.add_tokens([AddedToken("NORMAL", normalized=True)])
    vocabulary = Vocabulary(read_folder(write_folder(tmp_path, tokenizer=tokenizer, config={"eos_token": "</s>"})))
    for text in ("hi<s>  there</s> x", "<s><s>", "a NORMAL b</s>NORMAL", " <s> \n</s>"):
        assert encoded(vocabulary, text) == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_bare_prompt_gets_what_the_tokenizer_puts_around_it(tmp_path: Path) -> None:
    tokenizer = byte_level()
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", end)]
    )
    vocabulary = Vocabulary(read_folder(write_folder(tmp_path, tokenizer=tokenizer)))
    bare = encoded(vocabulary, "fox")
    assert encoded(vocabulary, "fox", framed=True) == [end, *bare]
    assert encoded(vocabulary, "", framed=True) == [end]


def test_the_configuration_says_whether_a_beginning_is_added(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<|endoftext|>"}, "add_bos_token": True, "add_eos_token": False}
    vocabulary = Vocabulary(read_folder(write_folder(tmp_path, tokenizer=BYTE_LEVEL, config=config)))
    framed = encoded(vocabulary, "fox", framed=True)
    assert framed == [BYTE_LEVEL.token_to_id("<|endoftext|>"), *encoded(vocabulary, "fox")]


def test_tokens_that_only_the_configuration_lists_are_recognised(tmp_path: Path) -> None:
    config = {
        "added_tokens_decoder": {"512": {"content": "<tool>", "special": False}},
        "extra_special_tokens": ["<more>"],
    }
    vocabulary = Vocabulary(read_folder(write_folder(tmp_path, tokenizer=BYTE_LEVEL, config=config)))
    tool, more = encoded(vocabulary, "<tool><more>")
    assert (vocabulary.token(tool), vocabulary.token(more)) == ("<tool>", "<more>")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "no tokenizer.json"),
        ({"tokenizer.json": "{}", "tokenizer_config.json": "["}, "not JSON"),
        ({"tokenizer.json": "{}", "config.json": "[]"}, "JSON object"),
    ],
)
def test_a_bad_folder_is_named_with_what_is_wrong(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadModelFolder, match=complaint) as error:
        read_folder(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadTokenizer):
        Vocabulary(read_folder(tmp_path))


def test_tools_have_a_template_of_their_own(tmp_path: Path) -> None:
    templates = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]
    found = read_folder(write_folder(tmp_path, None, config={"chat_template": templates}))
    assert (found.template, found.tool_template) == ("plain", "tools")


def test_the_processors_template_goes_first_without_tools(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, None, config={"chat_template": "the tokenizer's"})
    (folder / "processor_config.json").write_text("{}")
    (folder / "chat_template.json").write_text('{"chat_template": "the processor\'s"}')
    found = read_folder(folder)
    assert (found.template, found.tool_template) == ("the processor's", "the tokenizer's")


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "string"),
        ("{% for m in messages %}{% for p in m.content %}{% endfor %}{% endfor %}", "openai"),
        ("{% for m in messages[1:] %}{% for p in m['content'] | list %}{% endfor %}{% endfor %}", "openai"),
        ("{% set l = messages %}{% for m in l %}{% for p in m.content %}{% endfor %}{% endfor %}", "openai"),
        (
            "{% for m in messages %}{% set content = m.content %}{% for p in content %}{% endfor %}{% endfor %}",
            "openai",
        ),
        ("{% for m in messages %}{% for p in m.tool_calls %}{% endfor %}{% endfor %}", "string"),
        (
            "{% macro show(c) %}{% for p in c %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(m.content) }}{% endfor %}",
            "openai",
        ),
        (
            "{% macro show(content) %}{% for p in content %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(m.other) }}{% endfor %}",
            "string",
        ),
    ],
)
def test_a_template_that_loops_over_contents_takes_parts(template: str, form: str) -> None:
    assert content_format(ImmutableSandboxedEnvironment().parse(template)) == form


def encoded(vocabulary: Vocabulary, text: str, framed: bool = False) -> list[int]:
    ids = vocabulary.encode(text, framed=framed)
    assert ids is not None
    return ids.tolist()


def rendered(source: str, messages: list[dict[str, Any]], **options: Any) -> str:
    template = ChatTemplate(source, {"eos_token": "<e>"})
    return template.render(turns(messages, template.content_format, "<image>"), **options)


USER = {"role": "user", "content": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def test_templates_get_named_tokens_which_variables_may_replace() -> None:
    assert rendered("{{ eos_token }}{{ x }}", [USER], variables={"x": 1, "y": 2}) == "<e>1"
    assert rendered("{{ eos_token }}", [USER], variables={"eos_token": "z"}) == "z"


def test_json_is_written_as_it_is() -> None:
    assert rendered("{{ tools | tojson }}", [USER], tools=[{"ü": "<&>'"}]) == """[{"ü": "<&>'"}]"""


def test_a_template_may_refuse() -> None:
    with pytest.raises(TemplateRefused, match="no"):
        rendered("{{ raise_exception('no') }}", [USER])
    with pytest.raises(TemplateRefused):
        rendered("{{ messages[7].content }}", [USER])


def test_a_template_cannot_reach_python() -> None:
    with pytest.raises(TemplateRefused):
        rendered("{{ messages.__class__.__base__.__subclasses__() }}", [USER])
    with pytest.raises(TemplateRefused):
        rendered("{{ messages.append(1) }}", [USER])


def test_marks_of_what_the_model_wrote_are_passed_over() -> None:
    assert rendered("a{% generation %}b{% endgeneration %}c{% break_ %}".replace("{% break_ %}", ""), [USER]) == "abc"


@pytest.mark.parametrize("source", [PARTS, STRING])
@pytest.mark.parametrize("content", ["so far ", [{"type": "text", "text": "so far "}]])
def test_the_last_message_is_left_open(source: str, content: Any) -> None:
    messages = [USER, {"role": "assistant", "content": content}]
    text = rendered(source, messages, add_generation_prompt=False, continue_final_message=True)
    assert text.endswith("<|im_start|>assistant\nso far ")


def test_in_a_string_images_stand_in_front_unless_the_client_placed_them() -> None:
    content = [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}, IMAGE]
    assert turns([{"role": "user", "content": content}], "string", "<image>")[0]["content"] == "<image>\n<image>\na\nb"
    content[2] = {"type": "text", "text": "<image>b"}
    assert turns([{"role": "user", "content": content}], "string", "<image>")[0]["content"] == "<image>\na\n<image>b"
    with pytest.raises(TemplateRefused):
        turns([{"role": "user", "content": [IMAGE, "<image><image>"]}], "string", "<image>")


def test_parts_keep_their_places() -> None:
    content = [{"type": "text", "text": "a"}, IMAGE, "b", {"type": "refusal", "refusal": None}]
    (turn,) = turns([{"role": "user", "content": content}], "openai", "<image>")
    assert turn["content"] == [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize("part", [{"type": "input_audio", "input_audio": {}}, {"type": "new"}, {}, 3])
def test_other_parts_are_not_followed(part: Any) -> None:
    with pytest.raises(UnknownPart):
        turns([{"role": "user", "content": [part]}], "openai", "<image>")


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [('{"a": 1}', {"a": 1}), ({"a": 1}, {"a": 1}), ("", {}), (None, {}), ("{", {}), ("[1]", {}), ("null", {})],
)
def test_arguments_of_tool_calls_are_objects(arguments: Any, seen: dict[str, Any]) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    (turn,) = turns([{"role": "assistant", "content": None, "tool_calls": [call]}], "string", "")
    assert turn["tool_calls"] == [{"id": "c", "type": "function", "function": {"name": "f", "arguments": seen}}]


def test_what_a_tool_said_is_one_string() -> None:
    message = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": t} for t in "ab"]}
    assert turns([message], "openai", "") == [{"role": "tool", "content": "a\nb", "tool_call_id": "c"}]


def test_thoughts_are_known_by_both_names() -> None:
    (turn,) = turns([{"role": "assistant", "content": "x", "reasoning_content": "t"}], "string", "")
    assert (turn["reasoning"], turn["reasoning_content"]) == ("t", "t")


def test_a_line_that_changes_with_every_request_is_dropped_from_the_system_prompt() -> None:
    header = "x-anthropic-billing-header: cch=1"
    content = [{"type": "text", "text": f"{header}\nyou are"}, {"type": "text", "text": header}]
    assert turns([{"role": "system", "content": content}], "string", "")[0]["content"] == "you are"
    assert turns([{"role": "user", "content": header}], "string", "")[0]["content"] == header


def test_developers_become_the_system() -> None:
    said = [{"role": "user", "content": "u"}, {"role": "developer", "content": "d"}, {"role": "system", "content": "s"}]
    merged = without_developers(turns(said, "string", ""))
    assert [(turn["role"], turn["content"]) for turn in merged] == [("system", "d\n\ns"), ("user", "u")]
    assert without_developers([{"role": "system", "content": "s"}]) == [{"role": "system", "content": "s"}]
