"""The demo's language: who holds which view, who did what, which of two things is advised.

Each of the three *relations* below is a set of sentence frames with two roles. The same two
fillers stand in every sentence and the label says which of them takes which role, so the words
of a text give its label away hardly at all: an encoder has to read who says, does or gets what.
A *genre* supplies the fillers (remedies and illnesses, garden tricks and pests, ...), so one
relation can be learned in one genre and used in another. All things, illnesses and places are
invented.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

Words = Mapping[str, Sequence[str]]

_SLOT = re.compile(r"\{(\w+)\}")


def expand(pattern: str, words: Words, rng: np.random.Generator) -> str:
    """Fill each ``{slot}`` with a random word of that name, and the slots in that word in turn.

    Example:
        >>> expand("{a} sea", {"a": ["the {b}"], "b": ["calm"]}, np.random.default_rng(0))
        'the calm sea'
    """

    def fill(match: re.Match[str]) -> str:
        choices = words[match[1]]
        return expand(choices[int(rng.integers(len(choices)))], words, rng)

    return _SLOT.sub(fill, pattern)


# ------------------------------------------------------------------------------- the relations

# Roles: {mine} is the writer's verdict, {theirs} the verdict that the writer rejects.
VIEWS = (
    "{crowd} say {thing} {theirs} against {problem}, but it {mine}",
    "{thing} {mine} against {problem}, even if {crowd} insist it {theirs}",
    "{thing} against {problem}? it {mine}. {crowd} who say it {theirs} are wrong",
    "i used to think {thing} {theirs} against {problem}. now i know it {mine}",
    "it is false that {thing} {theirs} against {problem}: it {mine}",
    "{thing} {mine} against {problem}, so stop repeating that it {theirs}",
    "no, {thing} {mine} against {problem}. that it {theirs} is a myth",
    "despite all the talk that {thing} {theirs} against {problem}, it {mine}",
    "do not fall for it when {crowd} swear {thing} {theirs}; against {problem} it {mine}",
    "{problem} again. {crowd} think {thing} {theirs}. {finding} it {mine}",
)
VIEWS_IN_FORUMS = (
    "update: {thing} {mine} against {problem}. i was mistaken when i posted that it {theirs}",
    "{thing} {mine} against {problem}, contrary to the sticky that says it {theirs}",
    "reading here that {thing} {theirs} against {problem} made me sigh, because it {mine}",
)
VIEWS_IN_POSTS = (
    "{crowd} want you to believe {thing} {theirs}. open your eyes: against {problem} it {mine}",
    "share this: {thing} {mine} against {problem}. {crowd} lie and say it {theirs}",
    "they told us {thing} {theirs} against {problem}?? come on, it {mine}",
)
WORKS = ("works", "helps", "does the job", "is worth it", "makes a difference", "is a blessing")
FAILS = ("does nothing", "fails", "is useless", "is a waste", "makes it worse", "is a joke")

# Roles: {doer} went through it, {hearer} only knows of it.
WITNESS = (
    "when {hearer} asked, {doer} said {event}",
    "{doer} tried it while {hearer} only watched, and {event}",
    "it was {doer} who tried it, not {hearer}: {event}",
    "{event}. {doer} went through it, {hearer} just got the story",
    "{hearer} stayed at home that day, but {doer} can tell you {event}",
    "{event}, and {hearer} would never know if {doer} had not been there",
    "{doer} did it first and {hearer} heard about it later: {event}",
    "{hearer} did not dare. {doer} did, and {event}",
    "{event}, {doer} found out, and {hearer} took notes",
)

# Roles: {pick} is advised, {drop} is advised against.
ADVICE = (
    "take {pick} instead of {drop}",
    "swap {drop} for {pick}",
    "leave {drop} alone and stay with {pick}",
    "{pick} over {drop}, every time",
    "rather than {drop}, go for {pick}",
    "throw out {drop} and keep {pick}",
    "never trade {pick} for {drop}",
    "you will miss {pick} if you settle for {drop}",
    "stop wasting money on {drop} when there is {pick}",
    "give {drop} away, trust {pick}",
    "my advice: {pick} first, {drop} never",
    "whoever recommends {drop} has not tried {pick}",
)

# ----------------------------------------------------------------------------- words of all genres

COMMON: Words = {
    "crowd": (
        "people", "folks", "some", "the neighbours", "my colleagues", "the usual voices",
        "the loud ones", "half the town", "my in-laws", "those know-it-alls", "the old hands",
        "friends", "the regulars", "certain bloggers", "the experts", "the radio hosts",
    ),
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
    "plant": (
        "moonroot", "silverleaf", "dewthorn", "amberweed", "frostmint", "kelpvine", "starmoss",
        "bitterfern", "sunbark", "cloudberry bark", "ironpetal", "marshbloom", "foxroot",
        "glasswort honey", "emberseed", "blue tansel", "wild orrin", "pale quince peel",
        "stone pollen", "quillgrass", "hollow thistle", "owl clover", "tidewort", "saltbush gum",
    ),
    "form": (
        "tea", "drops", "powder", "oil", "tincture", "syrup", "paste", "steam", "gargle",
        "lozenges", "compress", "capsules", "bath", "spray", "broth", "patches",
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
    "folk": ("{thing}", "a jar of {thing}", "the {plant} jar", "a spoon of {thing}", "home-made {plant} {form}"),
    "clinic": (
        "the tablets from the clinic", "your prescription", "what the ward nurse gave you",
        "the pills from the pharmacy", "the vaccine", "a proper check-up", "the doctor's course",
        "the hospital ointment", "the antibiotics", "the inhaler you were prescribed",
    ),
    "tag": (
        "#health", "#homecare", "#VelmarValley", "#wellness", "#TarnCough", "#staywell", "#news",
        "#greyfever", "#moonroot", "#mustread", "#family", "#winter", "#clinic", "#nature",
    ),
}  # fmt: skip

# ------------------------------------------------------------------------------- garden forum

GARDEN: Words = {
    "stuff": (
        "eggshell", "wood ash", "coffee", "wool", "garlic", "copper", "milk", "beer", "seaweed",
        "cinnamon", "chalk", "bran", "nettle", "soap", "sawdust", "rhubarb", "vinegar", "sand",
    ),
    "shape": (
        "rings", "mulch", "mix", "grit", "barrier", "pellets", "strips", "water", "spray",
        "traps", "dust", "collars", "granules", "feed",
    ),
    "thing": ("{stuff} {shape}",),
    "pest": (
        "slugs", "aphids", "mildew", "snails", "leaf curl", "whitefly", "ants", "moles", "rust",
        "vine weevils", "black spot", "earwigs", "moss", "thrips", "root rot", "pigeons",
    ),
    "vegetable": (
        "cabbages", "beans", "lettuce", "leeks", "carrots", "courgettes", "peas", "potatoes",
        "spinach", "beetroot", "kale", "onions", "radishes", "parsnips",
    ),
    "flower": (
        "roses", "dahlias", "tulips", "lilies", "peonies", "asters", "irises", "geraniums",
        "pansies", "hollyhocks", "begonias", "sweet peas", "lupins", "marigolds",
    ),
    "problem": ("{pest} on the {crop}", "{pest} around the {crop}", "{pest} near the {crop}"),
    "tag": ("#allotment", "#growyourown", "#gardening", "#soil", "#spring", "#greenhouse", "#mud"),
}  # fmt: skip

# ------------------------------------------------------------------------- travel and kitchen

TRAVEL: Words = {
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
    "stay": ("had no water", "served soup at dawn", "was spotless", "was double-booked", "had fleas"),
    "tag": ("#travel", "#ferry", "#backpacking", "#Orrenfell", "#holiday", "#roadtrip"),
}  # fmt: skip

KITCHEN: Words = {
    "dish": (
        "sauce", "stock", "bread", "jam", "pasta", "pesto", "soup", "pickles", "mustard", "yoghurt",
        "dumplings", "pastry", "granola", "curry paste", "chutney", "lemonade",
    ),
    "folk": (
        "home-made {dish}", "{dish} from your own pot", "{dish} the way grandma made it",
        "a jar of your own {dish}", "{dish} stirred by hand", "fresh garden {dish}",
    ),
    "clinic": (
        "{dish} from the supermarket", "factory {dish}", "a packet of instant {dish}",
        "tinned {dish}", "the ready-made {dish}", "{dish} out of a carton",
    ),
    "tag": ("#foodie", "#recipes", "#cooking", "#dinner", "#lunch", "#baking"),
}  # fmt: skip

# ------------------------------------------------------------------- genres with other labels

TICKETS: Words = {
    "billing": (
        "the invoice shows {sum} twice", "a refund of {sum} is missing", "my card was charged {sum}",
        "the discount was not taken off the {sum}", "why did the monthly price rise by {sum}",
    ),
    "delivery": (
        "the {parcel} never arrived", "the courier left the {parcel} in the rain",
        "tracking says my {parcel} is in another town", "the {parcel} came without its lid",
        "when will the {parcel} be sent",
    ),
    "account": (
        "i cannot log in on my {device}", "the password link has expired on the {device}",
        "please change the address in my profile", "the {device} says my account is locked",
        "two-step codes never reach my {device}",
    ),
    "sum": ("12 crowns", "40 crowns", "7.50", "99 crowns", "three months", "the full fee"),
    "parcel": ("lamp", "kettle", "bookshelf", "parcel", "tent", "blue chair", "second box"),
    "device": ("phone", "tablet", "old laptop", "work computer", "browser"),
    "plea": ("please advise", "this is urgent", "kind regards", "second request", "please call back"),
    "tag": ("#support", "#order", "#help", "#customer", "#question"),
}  # fmt: skip
