"""Which text the shipped English model is trained on, and how much each file counts.

Weights follow what people type on phones, not size: the Reddit posts are two thirds of
all words, and American prose of 2013; text messages and chat are 2 %. They are set by
hand; what was tried stands in EXPERIMENTS.md. Of the research folder only sources that do not
forbid commercial use stand here.
"""

from __future__ import annotations

from pathlib import Path

from train.corpus import Source, Text

NOTICE_FREE = (
    "This model is licensed apart from the code. All text it was trained on is stated to allow "
    "any use; some of it asks for credit (CC BY, CC BY-SA) as listed below."
)
NOTICE_MIXED = (
    "This model is licensed apart from the code: of the text it was trained on, part is stated "
    "to allow any use, and part (text messages, chat, tweets and emoji text) states no licence, "
    "is research data, or is bound by a platform's terms; some of the first part asks for credit "
    "(CC BY, CC BY-SA). Whoever ships a product with it must judge that; `python -m train run "
    "--corpora DIR --free` builds a model without that part."
)

LIMITS = """The model writes as its sources do. Most words are of Reddit posts: casual American
English of 2013 and before, by mostly young people, part of it about break-ups, illness and worry.
Text messages are those of students in Singapore and of India, chat turns of India, task talk is
polite and templated, tweets speak of news and celebrities. There is next to no e-mail and
nothing of the years after 2021; emoji are those of before 2018, a dozen kinds half of them,
newer ones are found by name alone. Names, places, opinions and prejudices of the sources are in
it: who is expected to be a nurse or an engineer is what the text says, not what is so. It has
read no text of the user's; what it offers is nobody's advice."""

FREE = {
    "self_dialogue": (1.5, "BSD 3-Clause"),
    "reddit_posts_1": (0.6, "PDDL 1.0"),
    "reddit_posts_2": (0.6, "PDDL 1.0"),
    "reddit_posts_3": (0.6, "PDDL 1.0"),
    "reddit_posts_4": (0.6, "PDDL 1.0"),
    "goemotions_reddit": (2.0, "Apache 2.0"),
    "topical_chat": (1.0, "CDLA-Sharing 1.0"),
    "task_dialogs_sgd": (0.5, "CC BY-SA 4.0"),
    "task_dialogs_taskmaster": (1.0, "CC BY 4.0"),
    "multidogo": (1.0, "CDLA-Permissive 1.0"),
    "accentor_chitchat": (1.0, "CC BY-SA 4.0"),
    "common_voice_en": (1.0, "CC0 1.0"),
    "broad_twitter": (2.0, "CC BY 4.0"),
    "ubuntu_irc": (0.3, "CC BY 4.0"),
    "web_treebank_ewt": (1.5, "CC BY-SA 4.0"),
    "masc_mixed": (1.0, "MASC: open, any use"),
}
UNCLEAR = {
    "sms_nus": (4.0, "none stated; free for research"),
    "emocontext_chat": (4.0, "SemEval-2019 task 3 data, research use"),
    "slack_developers": (1.0, "none stated"),
    "reddit_emoji": (2.0, "none stated; Reddit users' comments"),
    "tweets_emoji20": (1.5, "Twitter terms hold"),
    "tweets_emoji5": (1.5, "none stated; Twitter terms hold"),
    "tweets_mixed": (2.0, "SemEval research data, Twitter terms hold"),
    "webtext_overheard": (2.0, "none stated"),
}
# The weights of the phases for talk, base's second and fourth and the second of small and nano:
# talk counts more, prose and advice on computers less. Set by hand; sources not named keep theirs.
TALK = {
    "self_dialogue": 2.2,
    "reddit_posts_1": 0.55,
    "reddit_posts_2": 0.55,
    "reddit_posts_3": 0.55,
    "reddit_posts_4": 0.55,
    "topical_chat": 1.5,
    "task_dialogs_sgd": 0.7,
    "task_dialogs_taskmaster": 2.0,
    "multidogo": 1.5,
    "accentor_chitchat": 1.5,
    "common_voice_en": 2.0,
    "ubuntu_irc": 0.2,
    "web_treebank_ewt": 2.0,
    "masc_mixed": 1.5,
    "webtext_overheard": 3.0,
}


# Those of base's third and fifth phase: nearly every text about as often as it was written.
EVEN = {
    "self_dialogue": 1.6,
    "reddit_posts_1": 0.6,
    "reddit_posts_2": 0.6,
    "reddit_posts_3": 0.6,
    "reddit_posts_4": 0.6,
    "goemotions_reddit": 1.5,
    "topical_chat": 1.2,
    "task_dialogs_taskmaster": 1.5,
    "common_voice_en": 1.5,
    "broad_twitter": 1.5,
    "ubuntu_irc": 0.2,
    "masc_mixed": 1.2,
    "sms_nus": 2.0,
    "emocontext_chat": 2.0,
    "slack_developers": 0.8,
    "reddit_emoji": 1.2,
    "tweets_emoji20": 0.8,
    "tweets_emoji5": 0.8,
    "tweets_mixed": 1.2,
    "webtext_overheard": 2.0,
}


# How much the places of a source count for whether an emoji comes, and its emoji for which it is,
# 1 where it is not named: chat more than tweets and old comments. Set by hand, EXPERIMENTS.md has
# what was tried.
EMOJI_RATES = {"emocontext_chat": 3.0, "slack_developers": 3.0}
EMOJI_KINDS = {
    "emocontext_chat": 5.0,
    "slack_developers": 6.0,
    "reddit_emoji": 2.2,
    "tweets_mixed": 0.7,
    "tweets_emoji5": 0.15,
}


def sources(corpora: Path, free: bool = False) -> Text:
    """The sources of the English model; with `free`, those alone that allow any use.

    Raises ValueError where a file is missing.
    """
    chosen = [("train", FREE)] + ([] if free else [("train-nc", UNCLEAR)])
    found = []
    for folder, table in chosen:
        for name, (weight, licence) in table.items():
            path = corpora / folder / f"{name}.txt.gz"
            if not path.is_file():
                raise ValueError(f"{path}: no such file; give the corpora folder, or --text FILES")
            found.append(Source(path, weight, licence))
    return Text(found, NOTICE_FREE if free else NOTICE_MIXED)


DEV = (
    "self_dialogue", "reddit_posts", "sms_nus", "emocontext_chat", "tweets_mixed",
    "slack_developers", "goemotions_reddit", "topical_chat",
)  # fmt: skip


def dev_files(corpora: Path, free: bool = False) -> list[Path]:
    """The dev files by which the training is steered; none of them is trained on.

    With `free`, those alone whose sources allow any use. Raises ValueError where one is
    missing.
    """
    allowed = {name.removesuffix("_1") for name in FREE}
    paths = [corpora / "dev" / f"{name}.txt" for name in DEV if not free or name in allowed]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give dev text with --dev FILES")
    return paths
