"""The demo's language: whose verdict it is, who went through it, which of two things is advised.

Each of these three *relations* is a set of sentence patterns with two roles. Most sentences hold
two fillers and the label says which of them takes which role, so that the words of a text give its
label away hardly at all: an encoder has to read who says, does or gets what. A *genre* (posts about
remedies, garden tips, ...) supplies the other words and a few patterns of its own, so that a
relation can be learned in one genre and used in another. All remedies, illnesses and places are
invented.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

Words = Mapping[str, Sequence[str]]

OPENER_SHARE = 0.15
CLOSER_SHARE = 0.15
TAG_SHARE = 0.3
TYPO_SHARE = 0.15

_SLOT = re.compile(r"\{(\w+)\}")


def expand(pattern: str, words: Words, rng: np.random.Generator) -> str:
    """Fill each ``{slot}`` with a random word of that name, and the slots in that word in turn.

    Example:
        >>> expand("{a} sea", {"a": ["the {b}"], "b": ["calm"]}, np.random.default_rng(0))
        'the calm sea'
    """
    return _SLOT.sub(lambda slot: expand(_choice(words[slot[1]], rng), words, rng), pattern)


def _choice(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]


# --------------------------------------------------------------------- patterns of the relations

# Roles: {mine} is the writer's verdict, {theirs} the verdict that the writer rejects.
_VIEW = (
    "{crowd} {claim} {thing} {theirs}, but it {mine}",
    "{thing} {mine}, even if {crowd} {claim} it {theirs}",
    "{crowd} {claim} it {theirs}. {finding} {thing} {mine}",
    "{finding} {thing} {mine}. {crowd} {claim} it {theirs}",
    "{thing} {mine} on {problem}, whatever {crowd} {claim}",
    "laugh all you like, {thing} {mine} on {problem}",
)
_WORKS = ("works", "helps", "does the job", "is worth it", "makes a difference", "is a blessing")
_FAILS = ("does nothing", "fails", "is useless", "is a waste", "makes it worse", "is a joke")

# Roles: {doer} went through it, {hearer} only knows of it.
_WITNESS = (
    "when {hearer} asked, {doer} said {event}",
    "{doer} tried it while {hearer} only watched, and {event}",
    "it was {doer} who tried it, not {hearer}: {event}",
    "{event}. {doer} went through it, {hearer} just got the story",
    "{hearer} stayed away that day, but {doer} can tell you {event}",
    "{event}, and {hearer} would never know if {doer} had not been there",
    "{doer} did it first and {hearer} heard about it later: {event}",
    "{hearer} did not dare. {doer} did, and {event}",
    "{event}, {doer} found out, and {hearer} took notes",
    "{doer} tried it and {event}",
    "{doer} was the one who found out: {event}",
    "{doer} can tell you that {event}",
    "so {doer} gave it a go: {event}",
    "{event}, and {doer} should know",
)

# Roles: {pick} is advised, {drop} is advised against.
_ADVICE = (
    "{do} {pick} and {avoid} {drop}",
    "{avoid} {drop} and {do} {pick}",
    "{do} {pick}, not {drop}",
    "{do} {pick} and be happy",
    "just {do} {pick}, trust me",
)

# ----------------------------------------------------------------------------- words of all genres

_COMMON: Words = {
    "crowd": (
        "people", "folks", "some", "the neighbours", "my colleagues", "the usual voices",
        "the loud ones", "half the town", "my in-laws", "those know-it-alls", "the old hands",
        "friends", "the regulars", "certain bloggers", "the experts", "the radio hosts",
    ),
    "claim": ("say", "claim", "insist", "swear", "keep telling me", "believe", "think"),
    "do": ("take", "choose", "keep", "trust", "go for", "stay with", "get"),
    "avoid": ("skip", "stop", "forget", "avoid", "leave", "throw out", "stay away from"),
    "finding": (
        "turns out", "as it happens,", "after a month of checking,", "truth is,", "in fact",
        "look closer:", "i compared notes and", "week after week i see that", "plainly,",
        "every trial i ran shows", "seriously,", "for the record:", "the numbers say",
    ),
    "relative": (
        "my cousin", "my aunt", "my flatmate", "my neighbour", "my brother", "my sister-in-law",
        "my old teacher", "my barber", "my landlady", "my uncle", "my niece", "my coach",
        "my dentist's wife", "my godfather", "my daughter", "my colleague",
    ),
    "opener": (
        "ok so", "psst,", "morning all.", "long time lurker here.", "hm.", "right,", "listen:",
        "quick one:", "rainy sunday thought:", "hi everyone,", "so,", "just saying:", "hey,",
        "not my usual topic but", "for anyone still awake:", "well,", "sorry for the rant.",
    ),
    "closer": (
        "anyway.", "that's all.", "lol", "make of it what you will", "thoughts?", "good night",
        "ymmv", "there, i said it", "just my two cents", "sigh", "end of story", "pass it on",
        "back to work now", "photos later", "!!", "...", "have a nice week", "cheers",
    ),
}  # fmt: skip

# ------------------------------------------------------------------------------ medical posts

POSTS: Words = {
    "view": (
        *_VIEW,
        "they {claim} it {theirs}?? come on, {thing} {mine}",
        "share this: {thing} {mine} on {problem}",
    ),
    "witness": (
        *_WITNESS,
        "{doer} took it for a week, {hearer} kept the diary: {event}",
        "{hearer} read out the leaflet, {doer} swallowed it, and {event}",
    ),
    "advice": _ADVICE,
    "plant": (
        "moonroot", "silverleaf", "dewthorn", "amberweed", "frostmint", "kelpvine", "starmoss",
        "bitterfern", "sunbark", "cloudberry bark", "ironpetal", "marshbloom", "foxroot",
        "glasswort honey", "emberseed", "blue tansel", "wild orrin", "pale quince peel",
        "stone pollen", "quillgrass", "hollow thistle", "owl clover", "tidewort", "saltbush gum",
    ),
    "form": (
        "tea", "powder", "oil", "tincture", "syrup", "paste", "steam", "gargle", "compress",
        "bath", "spray", "broth", "balm", "tonic", "salve", "rub",
    ),
    "thing": ("{plant} {form}",),
    "place": (
        "grey", "marsh", "Tarn", "winter", "harbour", "Velmar", "ash", "river", "Osk", "red",
        "mill", "Lunden", "dust", "attic", "northern", "saddle",
    ),
    "ailment": ("fever", "cough", "rash", "flu", "ague", "chills", "pox", "sweats", "cramps"),
    "problem": ("{place} {ailment}", "the {place} {ailment}"),
    "event": (
        "the {ache} was gone by morning", "the {ache} got worse overnight",
        "the {ache} faded within hours", "the {ache} lasted all week",
        "the bottle tasted of {taste}", "the label on the jar came off",
        "the first dose brought tears", "it took nine days for the {ache} to change",
    ),
    "ache": ("headache", "itch", "swelling", "fever", "sore throat", "stiff neck", "nausea"),
    "taste": ("rust", "old socks", "liquorice", "pond water", "burnt sugar"),
    "home": ("your own {thing}", "home-made {thing}", "{thing} you made", "a garden {form}"),
    "shop": (
        "the tablets from the clinic", "pills from the pharmacy", "bought capsules",
        "the ready-made syrup", "packaged drops", "the ointment from the shop",
    ),
    "tag": (
        "#health", "#homecare", "#VelmarValley", "#wellness", "#TarnCough", "#staywell", "#news",
        "#greyfever", "#moonroot", "#mustread", "#family", "#winter", "#clinic", "#nature",
    ),
}  # fmt: skip

# ------------------------------------------------------------------------------- garden forum

GARDEN: Words = {
    "view": (
        *_VIEW,
        "update: {thing} {mine}. the old thread says it {theirs}",
        "{thing} {mine} on {problem}, unlike what {crowd} {claim}",
    ),
    "from_kitchen": (
        "eggshell", "coffee", "garlic", "milk", "beer", "cinnamon", "bran", "rhubarb", "vinegar",
        "onion", "tea leaf", "honey", "pepper", "lemon",
    ),
    "from_shed": (
        "wood ash", "wool", "copper", "seaweed", "chalk", "nettle", "sawdust", "sand", "gravel",
        "straw", "clay", "bark", "charcoal", "slate",
    ),
    "stuff": ("{from_kitchen}", "{from_shed}"),
    "shape": (
        "mulch", "mix", "grit", "barrier", "water", "spray", "dust", "collar", "feed", "powder",
        "paste", "wash", "ring", "trap",
    ),
    "thing": ("{stuff} {shape}",),
    "pest": (
        "slugs", "aphids", "mildew", "snails", "leaf curl", "whitefly", "ants", "moles", "rust",
        "vine weevils", "black spot", "earwigs", "moss", "thrips", "root rot", "pigeons",
    ),
    "crop": (
        "cabbages", "beans", "lettuce", "leeks", "carrots", "courgettes", "peas", "potatoes",
        "kale", "onions", "roses", "dahlias", "tulips", "lilies", "peonies", "asters", "irises",
        "pansies", "hollyhocks", "begonias", "lupins", "marigolds",
    ),
    "problem": ("{pest} on the {crop}", "{pest} around the {crop}", "{pest} near the {crop}"),
    "tag": ("#allotment", "#growyourown", "#gardening", "#soil", "#spring", "#greenhouse", "#mud"),
}  # fmt: skip

# ------------------------------------------------------------------------- travel and kitchen

TRAVEL: Words = {
    "witness": (
        *_WITNESS,
        "{doer} made the trip, {hearer} saw the photos: {event}",
        "{hearer} had to work, so {doer} went alone, and {event}",
    ),
    "event": (
        "the {vehicle} {trouble}", "the {vehicle} to {town} {trouble}", "the inn at {town} {stay}",
        "the inn near the {vehicle} stop {stay}", "the road to {town} {trouble}",
    ),
    "vehicle": ("night ferry", "mountain bus", "sleeper train", "cable car", "post boat", "tram"),
    "trouble": (
        "broke down twice", "left an hour early", "was the best part", "was full of goats",
        "ran without lights", "took nine hours", "was closed for a wedding", "smelled of paint",
    ),
    "town": ("Orrenfell", "Port Maddry", "Quillhaven", "Stavik", "Lower Dunmere", "Belcastra"),
    "stay": ("had no water", "served soup at dawn", "was spotless", "was full", "had fleas"),
    "tag": ("#travel", "#ferry", "#backpacking", "#Orrenfell", "#holiday", "#roadtrip"),
}  # fmt: skip

KITCHEN: Words = {
    "advice": _ADVICE,
    "dish": (
        "sauce", "stock", "bread", "jam", "pasta", "pesto", "soup", "pickles", "mustard", "yoghurt",
        "dumplings", "pastry", "granola", "curry paste", "chutney", "lemonade",
    ),
    "home": (
        "your own {dish}", "home-made {dish}", "{dish} you made", "garden {dish}",
        "{dish} stirred by hand",
    ),
    "shop": (
        "the {dish} from the shop", "bought {dish}", "packaged {dish}", "the ready-made {dish}",
        "factory {dish}", "{dish} from the supermarket",
    ),
    "tag": ("#foodie", "#recipes", "#cooking", "#dinner", "#lunch", "#baking"),
}  # fmt: skip

# ------------------------------------------------------------------- genres with other labels

TICKETS: Words = {
    "billing": (
        "the invoice shows {sum} twice", "a refund of {sum} is missing",
        "my card was charged {sum}", "the voucher was not taken off the {sum}",
        "why did the monthly price rise by {sum}", "i paid {sum} and got no receipt",
    ),
    "delivery": (
        "the {parcel} never arrived", "the courier left the {parcel} in the rain",
        "tracking says my {parcel} is in another town", "the {parcel} came without its lid",
        "when will the {parcel} be sent", "someone else signed for the {parcel}",
    ),
    "account": (
        "i cannot log in on my {device}", "the password link has expired on my {device}",
        "my {device} shows the profile of a stranger", "my {device} says i am locked out",
        "the security code never reaches my {device}", "my {device} wants a new user name",
    ),
    "sum": ("12 crowns", "40 crowns", "7.50", "99 crowns", "three months", "the full fee"),
    "parcel": ("lamp", "kettle", "bookshelf", "parcel", "tent", "blue chair", "second box"),
    "device": ("phone", "tablet", "old laptop", "work computer", "browser", "television"),
    "since": ("since {day}", "again", "as of {day}", "for a week now", "again on {day}"),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "the weekend"),
    "plea": ("please advise", "this is urgent", "kind regards", "second request", "call me"),
    "tag": ("#support", "#order", "#help", "#customer", "#question"),
}  # fmt: skip

# ---------------------------------------------------------------------------- sentences and texts


def view(words: Words, endorsed: int, rng: np.random.Generator) -> str:
    """The writer gives one verdict on a thing and, mostly, rejects the opposite one."""
    works, fails = _choice(_WORKS, rng), _choice(_FAILS, rng)
    mine, theirs = (works, fails) if endorsed else (fails, works)
    return expand("{view}", {**_COMMON, **words, "mine": [mine], "theirs": [theirs]}, rng)


def witness(words: Words, first_hand: int, rng: np.random.Generator) -> str:
    """The writer went through something, or someone else did and the writer knows of it."""
    someone = _choice(_COMMON["relative"], rng)
    doer, hearer = ("i", someone) if first_hand else (someone, "i")
    return expand("{witness}", {**words, "doer": [doer], "hearer": [hearer]}, rng)


def advice(words: Words, home_made: int, rng: np.random.Generator) -> str:
    """The writer advises a home-made or a bought thing, mostly instead of the other."""
    pick, drop = ("{home}", "{shop}") if home_made else ("{shop}", "{home}")
    return expand("{advice}", {**_COMMON, **words, "pick": [pick], "drop": [drop]}, rng)


def style_post(sentences: Sequence[str], words: Words, rng: np.random.Generator) -> str:
    """Join sentences as people post them: opener, closer, hashtag, typo, each now and then."""
    parts = [f"{sentence}." for sentence in sentences]
    if rng.random() < OPENER_SHARE:
        parts.insert(0, _choice(_COMMON["opener"], rng))
    if rng.random() < CLOSER_SHARE:
        parts.append(_choice(_COMMON["closer"], rng))
    if rng.random() < TAG_SHARE:
        parts.append(_choice(words["tag"], rng))
    text = " ".join(parts)
    return _with_typo(text, rng) if rng.random() < TYPO_SHARE else text


def _with_typo(text: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters inside one of the longer words."""
    starts = [match.start() for match in re.finditer(r"[a-z]{5,}", text)]
    if not starts:
        return text
    at = starts[int(rng.integers(len(starts)))] + 1 + int(rng.integers(2))
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
