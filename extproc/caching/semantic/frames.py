"""Ways of saying one thing: how a request is wrapped, and turns of phrase that ask for the same.

Works on one line of lower-case English without its final punctuation. Each rule is a claim that both sides always get
the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .words import HOW_YOU, REQUEST_VERBS

Rule = tuple[re.Pattern[str], str]

_VERB = "(?=(?:" + "|".join(sorted(REQUEST_VERBS - {"use", "begin", "start", "work", "happen"})) + r")\b)"
_NOUN = r"[\w'-]+(?: [\w'-]+){0,3}?"
_ATTRIBUTE = "(?:capital|population|currency|president|height|area|flag)(?: city)?"


def _rules(pairs: Iterable[tuple[str, str]]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), new) for pattern, new in pairs)


_CONTRACTIONS = _rules(
    (
        (r"\bcan't\b|\bcannot\b|\bcant\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"\b(do|does|did|is|are|was|were|has|have|had|would|should|could|must|need)n'?t\b", r"\1 not"),
        (r"\b(what|who|where|when|how|why|that|there|here|it|he|she)'s\b", r"\1 is"),
        (r"^whats\b", "what is"),
        (r"\bi'm\b", "i am"),
        (r"\b(you|we|they|what|who|how|where)'re\b", r"\1 are"),
        (r"\b(i|you|we|they)'ve\b", r"\1 have"),
        (r"\b(i|you|he|she|we|they|it|what|who)'ll\b", r"\1 will"),
        (r"\bi'd (?=like|love|appreciate|prefer)", "i would "),
        (r"\blet's\b", "let us"),
        (r"\bgonna\b", "going to"),
        (r"\bwanna\b", "want to"),
        (r"\bpls\b|\bplz\b", "please"),
    )
)

_GREETINGS = _rules(
    (
        (r"^(?:hi|hello|hey|greetings|good (?:morning|afternoon|evening))(?: there| everyone| all)?[,.!]* +(?=\w)", ""),
        (r"^(?:(?:quick|simple|short|one|just a (?:quick )?)question|question)(?: for you)?[:,.-]* +(?=\w)", ""),
        (r"^(?:thanks|thank you)(?: so much| a lot)?[!.,]+ +(?=\w)", ""),
        (r"^(?:ok|okay|so|well|now then|alright)[,.] +", ""),
        (r"(?:[,.!?]+ *| )(?:thanks|thank you|thx|cheers|ty)(?: (?:a lot|so much|very much|in advance))*[.!]*$", ""),
        (r",? (?:if you can|if possible|if you don't mind|if you do not mind)$", ""),
        (r"^(?:please|kindly)[, ]+", ""),
        (r",? please(?:, | |$)", " "),
    )
)

_WRAPPINGS = _rules(
    (
        (
            rf"^(?:can|could|would|will) you (?:(?:maybe|perhaps|possibly|just|kindly) )*(?:help me (?:to )?)?{_VERB}",
            "",
        ),
        (rf"^(?:i would (?:like|love)|i (?:want|need)|i would appreciate it if) you (?:to |could |would )?{_VERB}", ""),
        (rf"^(?:i was wondering|i wonder) if you (?:could|can|would) {_VERB}", ""),
        (rf"^would you mind {_VERB}", ""),
        (rf"^(?:are you able|is it possible for you) to {_VERB}", ""),
        (rf"^(?:please |kindly )?help me (?:to )?{_VERB}", ""),
        (rf"^i(?: would like| want| need) to {_VERB}", ""),
        (rf"^(?:go ahead and|let us) {_VERB}", ""),
        (
            r"^(?:do you (?:happen to )?know|"
            r"i (?:would like|want|need|would love) to (?:know|find out|learn|understand)|"
            r"(?:tell me|let me know)|i am (?:curious|wondering)(?: about)?|i wonder|i was wondering|"
            r"any (?:idea|chance you know)) (?=(?:who|whom|whose|what|which|when|where|why|how)\b)"
            r"(?!(?<=^do you know )how to\b)",
            "ASK ",
        ),
        (r"^(?:explain|describe)(?: to me| for me)? (?=(?:what|why|how)\b)", "ASK "),
        (r"^(?:show|teach) me (?=how to\b)", "ASK "),
        (r"^(?:tell|give) (?:me|us) (?=(?:the|[\w-]+'s) )", "what is "),
        (
            r"^(tell|give|show|provide|write|explain|describe|list|name|suggest|recommend|summarize|make|create|generate)"
            r" (?:me|us)\b",
            r"\1",
        ),
        (r"^(explain|describe|show|give|summarize) (.+) (?:to|for) me$", r"\1 \2"),
        (rf"^{_VERB}(.+) for me$", r"\1"),
        (r"^(give|provide|write|share|show) (?:an?|the) (?:short )?summary of ", "summarize "),
        (r"^(give|provide|write|share|offer) an explanation of ", "explain "),
        (r"^(give|provide|write|share) a description of ", "describe "),
        (r"^(give|provide|write|make|create|share|show) (?:an?|the) list of ", "list "),
        (r"^summarise\b|^sum up\b", "summarize"),
        (r"^(?:tell|give|provide|state|name) (?=the (?:[\w-]+ ){1,3}of )", "what is "),
        (
            r"^(?:tell about|what do you know about|what can you tell about|what can you tell me about|"
            r"i (?:want|would like|need) to (?:know|learn) about) ",
            "tell about ",
        ),
    )
)

_QUESTIONS = _rules(
    (
        (rf"^(in|using|with|on) ({_NOUN}), (.+)$", r"\3 \1 \2"),
        # "tell me what X is" -> "what is X"
        (rf"^ASK (what|who|where) (?!is |are |was |were )({_NOUN}) (is|are|was|were)$", r"\1 \3 \2"),
        (
            rf"^ASK (what|who) (?!is |are |was |were )((?:the |an? )?{_NOUN} of (?:the )?{_NOUN}) (is|are|was|were)$",
            r"\1 \3 \2",
        ),
        (rf"^ASK where ({_NOUN}) is located$", r"where is \1"),
        (r"^ASK (why|where|when) (\w+s) (?!is\b|are\b|was\b|were\b)([a-z]+[^s\W])$", r"\1 do \2 \3"),
        # "explain how X works" -> "how does X work"
        (rf"^ASK how ((?:the |an? )?{_NOUN}) works$", r"how does \1 work"),
        (rf"^ASK how ((?:the |an? )?{_NOUN}) work$", r"how do \1 work"),
        (
            rf"^ASK when ((?:the )?{_NOUN}) was (built|founded|invented|born|discovered|released|signed|written)$",
            r"when was \1 \2",
        ),
        (rf"^ASK (why|when|where) ((?:the |an? )?{_NOUN}) (is|are|was|were) (?=\w)", r"\1 \3 \2 "),
        (r"^ASK (where|when) (i|we|one) (can|could|should) ", r"\1 \3 \2 "),
        (r"^ASK how (?:i|we|one) (?:can|could) ", "how to "),
        (r"^ASK how to ", "how to "),
        (r"^how (?:do|can|could) (?:i|we|one)(?: go about)? (?=\w)", "how to "),
        (r"^how does one(?: go about)? (?=\w)", "how to "),
        (rf"^how (?:do|can|could|would) you (?=(?:{'|'.join(sorted(HOW_YOU))})\b)", "how to "),
        (r"^(how (?:do|does) .+) (?:function|operate)$", r"\1 work"),
        (rf"^(?!what\b|who\b)(.+?)'s (?!.*')({_ATTRIBUTE})$", r"what is the \2 of \1"),
        (rf"^({_ATTRIBUTE}) of ", r"what is the \1 of "),
        (r"^how to go about ", "how to "),
        (r"^(?:what is|what's) (?:the|a) (?:way|method) (?:to|of|for) (?=\w)", "how to "),
        (r"^what are (?:the )?steps (?:to|for) (?=\w)", "how to "),
        (r"^where (?:is|can i find|could i find|do i find) (.+?)(?: located| situated)?$", r"where is \1"),
        (r"^in (?:what|which) (city|country|year|state|month|language) ", r"which \1 "),
        (r"^what (city|country|year|state|month) ", r"which \1 "),
        (r"^(?:what|which) (\w+) (is|was) the (\w+est)((?: .+)?)$", r"what \2 the \3 \1\4"),
        (r"^(?:calculate|compute) (?=[\d(])", "what is "),
        (r"^how far away\b", "how far"),
        (r"^i need (?=(?:some )?(?:tips|ideas|advice|suggestions|examples|a recipe)\b)", "give "),
        (r"\bww(?:ii|2)\b|\bworld war (?:2|two)\b", "world war ii"),
        (r"\bww(?:i|1)\b|\bworld war (?:1|one)\b", "world war i"),
        (r"^which city is the capital\b", "what is the capital"),
        (r"^which city serves as the capital\b", "what is the capital"),
        (r"^how many people (?:live|are living|are there) in ", "what is the population of "),
        (r"^how (?:tall|high) is ", "what is the height of "),
        (r"^how old is ", "what is the age of "),
        (r"^how (?:large|big) is the population of ", "what is the population of "),
        (r"^who is the (?:author|writer) of ", "who wrote "),
        (r"^who was the (?:author|writer) of ", "who wrote "),
        (r"^who (?:is|was) the inventor of ", "who invented "),
        (r"^who (?:is|was) the discoverer of ", "who discovered "),
        (r"^who (?:is|was) the (?:founder) of ", "who founded "),
        (r"^who (?:is|was) the painter of ", "who painted "),
        (r"^who (?:is|was) the director of ", "who directed "),
        (r"^who (?:is|was) the composer of ", "who composed "),
        (r"^by whom was (.+) (written|invented|discovered|founded|painted|directed|composed)$", r"who \2 \1"),
        (r"^who was (.+) (written|invented|discovered|founded|painted|directed|composed) by$", r"who \2 \1"),
        (r"^(.+) was (written|invented|discovered|founded|painted|directed|composed) by (?:whom|who)$", r"who \2 \1"),
        (r"^who written ", "who wrote "),
        (r"^(what) does (.+) mean$", r"\1 is the meaning of \2"),
        (r"^what (is|are) (.+)'s (?!.*')(.+)$", r"what \1 the \3 of \2"),
        (r"^who (is|was) (.+)'s (?!.*')(.+)$", r"who \1 the \3 of \2"),
        (r"^ASK ", ""),
        (r"^(what|who) are\b", r"\1 is"),
        (r"^what exactly is\b", "what is"),
        (r"^give an? example of ", "give an example of "),
    )
)


_DIRECTLY = re.compile(
    r"^(?:please )?(?:(?:can|could|would|will) you (?:please )?)?(?:help me (?:to )?)?"
    r"(?=(?:translate|proofread|paraphrase|rephrase|rewrite|reword|spell|correct|define|conjugate|classify|write)\b)"
)


def without_contractions(line: str) -> str:
    """`don't` -> `do not`; possessives stay."""
    return _apply(_CONTRACTIONS, line)


def without_courtesy(line: str) -> str:
    """Greetings, thanks and `please` taken away, until none is left. Of few words each one counts: `no thanks`."""
    return line if line.count(" ") < 2 else _repeat(_GREETINGS, line)


def directly(line: str) -> str:
    """A request that works on words of its own line, without what is said before its verb."""
    return _DIRECTLY.sub("", line)


def unwrapped(line: str) -> str:
    """The request itself: `could you tell me what X is` -> `what is X`."""
    line = _repeat(_WRAPPINGS, line)
    return _apply(_QUESTIONS, line)


def _repeat(rules: tuple[Rule, ...], line: str) -> str:
    for _ in range(4):
        changed = _apply(rules, line)
        if changed == line:
            break
        line = changed
    return line


def _apply(rules: tuple[Rule, ...], line: str) -> str:
    for pattern, new in rules:
        line = pattern.sub(new, line).strip()
    return line
