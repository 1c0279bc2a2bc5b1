"""The words that the guards know. All in lower case."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words("a an the")

NEGATIONS = _words(
    "not no never none neither nor nobody nothing nowhere without except excluding exclude unless hardly barely "
    "rarely seldom avoid lack lacking fail stop non cannot but besides instead"
)

QUESTION_WORDS = _words("who whom whose what which when where why how whether if")

QUANTIFIERS = _words(
    "all any some every each both either most many few several much little only just half less least more enough "
    "at about almost nearly exactly around approximately up first last next previous other another same different "
    "single double once twice thrice always sometimes often usually again also too even still yet ever"
)

TENSES = _words(
    "is are am was were be been being do does did done has have had having will would shall should can could may "
    "might must ought need used today yesterday tomorrow now currently ago since until before after during"
)

RELATIONS = _words(
    "from to into onto in out on off over under above below by with for of than as against between among through "
    "across toward towards upon within outside inside behind beside near per plus minus times divided versus vs "
    "via like unlike and or then while because so that this these those it its he she they we you i me my your "
    "his her their our us him them mine yours there here"
)

OPPOSITES = tuple(
    tuple(_words(side) for side in pair.split("|"))
    for pair in (
        "more greater higher larger bigger above over|less fewer lower smaller below under",
        "most best highest largest biggest longest oldest max maximum maximal maximize maximise|"
        "least worst lowest smallest shortest youngest min minimum minimal minimize minimise",
        "before earlier previous prior pre|after later next following post",
        "increase raise grow rise gain improve boost expand|"
        "decrease lower reduce shrink fall lose worsen drop contract",
        "enable activate allow on start begin open turn|disable deactivate forbid deny off stop end close",
        "first|last final",
        "include with add insert append push|exclude without remove delete pop subtract",
        "good better pro pros advantage advantages benefit benefits positive|"
        "bad worse con cons disadvantage disadvantages drawback drawbacks negative",
        "true right correct valid legal safe|false wrong incorrect invalid illegal unsafe dangerous",
        "hot warm|cold cool",
        "fast quick|slow",
        "old|new young",
        "cheap|expensive",
        "easy|hard difficult",
        "strong|weak",
        "full|empty",
        "rich|poor",
        "early|late",
        "heavy|light",
        "dark|light bright",
        "near|far",
        "same|different opposite",
        "win won|lose lost",
        "top|bottom",
        "north|south",
        "east|west",
        "horizontal|vertical",
        "ancient|modern",
        "indoor indoors|outdoor outdoors",
        "local|global remote",
        "beautiful|ugly",
        "happy|sad",
        "love|hate",
        "alive living|dead",
        "input|output",
        "read|write",
        "row rows|column columns",
        "create|drop destroy",
        "send|receive",
        "accept|reject refuse",
        "attack|defend",
        "majority|minority",
        "summer|winter",
        "day|night",
        "long tall|short",
        "high|low",
        "up upgrade upload|down downgrade download",
        "left|right",
        "buy import borrow|sell export lend",
        "encode encrypt compress zip|decode decrypt decompress unzip",
        "ascending|descending",
        "public|private",
        "internal inside|external outside",
        "import|export",
        "male man men boy he father mother husband|female woman women girl she wife",
        "formal|informal casual",
        "lock|unlock",
        "push|pull",
        "deductible|nondeductible",
        "even|odd",
        "vegan|vegetarian",
        "hyper|hypo",
        "symmetric|asymmetric",
        "sync synchronous|async asynchronous",
    )
)

UNITS = _words(
    "mm cm m km inch inches in ft foot feet yard yards mile miles mg g kg gram grams kilogram kilograms ton tons "
    "tonne oz ounce ounces lb lbs pound pounds ml l liter liters litre litres gallon gallons cup cups tablespoon "
    "tablespoons teaspoon teaspoons ms s sec second seconds minute minutes hour hours day days week weeks month "
    "months year years decade century c f k celsius fahrenheit kelvin percent percentage usd eur gbp dollar "
    "dollars euro euros yen yuan bit bits byte bytes kb mb gb tb kib mib gib hz khz mhz ghz w kw mw wh kwh v a j "
    "cal kcal calories mph kmh knots degree degrees radian radians"
)

_UNDER_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth"  # "first" is an order, "second" also a unit

NUMBER_WORDS = (
    {word: str(number) for number, word in enumerate(_UNDER_20.split())}
    | {word: str(10 * number) for number, word in enumerate(_TENS.split(), 2)}
    | {word: "3rd" if number == 3 else f"{number}th" for number, word in enumerate(_ORDINALS.split(), 3)}
)

MAGNITUDES = _words("hundred thousand million billion trillion dozen half quarter third")

MEASURES = _words(
    "height age weight width length depth size speed distance area population price cost value volume "
    "temperature color "
    "name date time year place capital currency language"
)

FORMATS = _words(
    "json xml yaml csv html markdown md table list bullet bullets bulleted numbered paragraph paragraphs sentence "
    "sentences word words essay poem haiku letter email tweet code pseudocode latex brief briefly short concise "
    "concisely detail detailed details long simple simply step steps summary summarise summarize explain describe "
    "compare define translate classify rate example examples one-sentence"
)

ABOUT_WORDS = _words(
    "translate translation proofread paraphrase rephrase reword rewrite grammar spelling spell spelled capitalise "
    "capitalize uppercase lowercase repeat echo rhyme rhymes pronounce pronunciation conjugate conjugation word "
    "words letter letters character characters syllable syllables sentence sentences phrase phrases anagram "
    "palindrome say says said saying quote text verbatim sentiment classify tone sarcasm idiom acronym "
    "abbreviation plural singular noun verb adjective typo prompt slogan caption correct reply respond message "
    "email tweet post read aloud etymology write-up"
)
"""Where one of these stands, words of the question may be what is to be worked on: they are left as they are."""

COMPARING = _words(
    "synonym synonyms antonym antonyms opposite define definition meaning means mean difference differences "
    "different distinguish vs versus compare comparison or same similar equal stand"
)
"""Where one of these stands, two words that mean the same may be what is asked about: none is replaced."""

SAME_WORD = {
    variant: word
    for word, variants in {
        "javascript": "js",
        "math": "maths",
        "tv": "television",
        "kids": "children",
        "photo": "photograph",
        "color": "colour",
        "flavor": "flavour",
        "behavior": "behaviour",
        "center": "centre",
        "organize": "organise",
        "optimize": "optimise",
        "recognize": "recognise",
        "favorite": "favourite",
        "biggest": "largest",
        "big": "large",
        "car": "automobile",
        "movie": "film",
        "advantages": "benefits pros",
        "advantage": "benefit",
        "disadvantages": "drawbacks cons downsides",
        "disadvantage": "drawback downside",
        "main": "primary",
        "information": "info",
        "application": "app",
        "repository": "repo",
        "database": "db",
        "quick": "fast",
        "okay": "ok",
        "email": "e-mail",
        "bicycle": "bike",
    }.items()
    for variant in variants.split()
}

SAME_VERB = {
    variant: word
    for word, variants in {
        "fix": "repair",
        "buy": "purchase",
        "write": "compose draft create generate produce",
        "make": "build",
        "give": "provide show present offer suggest",
        "list": "enumerate name",
        "summarize": "summarise",
        "start": "begin commence",
        "remove": "delete",
        "calculate": "compute",
        "use": "utilize utilise",
        "get": "obtain acquire",
        "convert": "transform",
    }.items()
    for variant in variants.split()
}
"""Only where a verb is looked for: first in a request, or after `how to`."""

REQUEST_VERBS = (
    frozenset(SAME_VERB)
    | frozenset(SAME_VERB.values())
    | _words(
        "tell explain describe help summarize translate recommend define outline compare find solve answer check "
        "review teach "
        "walk clarify elaborate share convert sort rewrite plan propose think discuss identify state mention "
        "analyze analyse "
        "classify rank evaluate count correct proofread rephrase paraphrase debug implement design code return"
    )
)

PLURAL_ONLY = _words(
    "jeans shorts pants sports stocks works rights pieces times ones grounds manners spirits thousands "
    "millions billions "
    "news physics mathematics economics politics ethics series species means glasses goods customs arms savings "
    "statistics data media criteria less this its was is has does as us plus versus always yes gas bus lens bias "
    "canvas atlas alias class pass loss boss glass mass cross access process address express success business "
    "illness pros cons analysis basis thesis crisis virus status campus focus bonus cactus octopus census radius "
    "genius mars venus paris texas kansas arkansas wales athens brussels naples windows aws css js ios macos dns "
    "https rss sms gps hiv aids sars does kubernetes pandas keras postgres redis jenkins emacs rails sas spss"
)

ENGLISH = _words(
    "what is are the how do i to of for a an in on and does can could tell me give write explain list why when "
    "where who which did was were will should would you your my it with from by at be there please describe "
    "summarize summarise show make find name translate create please this that use get best define compare if or "
    "as has have not calculate convert between much many help need want recommend suggest provide generate "
    "compose draft solve compute about"
)

FOREIGN = _words(
    "der das und ist wie nicht ein eine für von mit zu auf dem den wer wo warum kann ich wir una por qué que como "
    "cómo está para del cuál cual quién donde cuándo le les est quel quelle comment pourquoi dans pour avec sur "
    "une du je vous qui il gli che è sono perché della di per una não uma quem você het een wat hoe waarom och är "
    "vad hur jag att det som på og hvad hvordan er ikke puis suis mon cest capitale"
)

CASE_MATTERS = _words(
    "us it who may march polish turkey china apple amazon aids sat pin ram cat apt go swift rust java shell "
    "oracle windows word excel access teams edge chrome target visa mercury bill mark will rose jack "
    "reading nice job august grant drew pat sue ray cologne hamburger chad "
    "mobile buffalo orange meta alphabet gap subway shell dove galaxy mars saturn ant make cobra c r"
)
"""Words that mean something else with a capital letter inside a sentence."""

CASE_MATTERS_AFTER_A_NUMBER = _words("b kb mb gb tb m k g w mw mm ma mv")
"""Mb is not MB."""

HOW_YOU = _words(
    "boil cook bake fry grill roast install uninstall reset clean fix repair tie sort convert calculate solve "
    "remove delete draw plant wash open close connect configure update upgrade print copy paste sew knit fold "
    "peel"
)
"""What "how do you ..." never asks of the model itself."""

SOFT = _words("really actually basically literally kindly")
"""Words that may be said or not without another question coming of it, most of the time."""

LANGUAGES = _words(
    "english french german spanish italian portuguese dutch swedish danish norwegian finnish polish russian "
    "ukrainian czech greek turkish arabic hebrew persian hindi bengali urdu tamil thai vietnamese chinese "
    "mandarin cantonese japanese korean latin python javascript typescript java kotlin swift rust go golang c "
    "ruby perl php scala haskell bash sql matlab julia lua dart fortran cobol"
)
