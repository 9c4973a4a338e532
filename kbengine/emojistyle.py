"""How emoji are shown: in which skin tone, as a woman, a man or neither, how varied.

``tone=medium,gender=woman,diversity=0.5``; what is not named stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from kbengine.text import base_emoji, is_emoji

_ZWJ, _VS = "\u200d", "\ufe0f"
TONES = {
    "light": "\U0001f3fb", "medium-light": "\U0001f3fc", "medium": "\U0001f3fd",
    "medium-dark": "\U0001f3fe", "dark": "\U0001f3ff",
}  # fmt: skip
_SIGN = {"woman": "\u2640\ufe0f", "man": "\u2642\ufe0f"}
_PERSON = "\U0001f9d1"
_WHO = {"woman": "\U0001f469", "man": "\U0001f468"}

_BARE_SIGNS = ("\u2640", "\u2642")
# A woman and a man that are emoji of their own.
_PAIRS = (
    ("\U0001f483", "\U0001f57a"),  # dancing
    ("\U0001f478", "\U0001f934"),  # princess, prince
    ("\U0001f936", "\U0001f385"),  # Mrs. Claus, Santa Claus
    ("\U0001f475", "\U0001f474"),  # old
    ("\U0001f469", "\U0001f468"),
    ("\U0001f467", "\U0001f466"),  # girl, boy
)

_PEOPLE = frozenset((_PERSON, *(person for pair in _PAIRS[-2:] for person in pair), "\U0001f9d2"))


@dataclass(frozen=True)
class EmojiStyle:
    """tone: one of TONES, or "" for the yellow of all; gender: "woman", "man" or "" for whatever
    the emoji is by itself; diversity: 0 ranks emoji by probability, 1 by how much likelier they
    are here than anywhere, so that rare kinds come to the front."""

    tone: str = ""
    gender: str = ""
    diversity: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError, naming what is wrong."""
        if self.tone and self.tone not in TONES:
            raise ValueError(f"{self.tone!r} is no skin tone; give one of {', '.join(TONES)}")
        if self.gender and self.gender not in _SIGN:
            raise ValueError(f"{self.gender!r} is none of {', '.join(_SIGN)}; give one, or none")
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"a diversity of {self.diversity:g} cannot be; give 0 to 1")

    @classmethod
    def parse(cls, spec: str) -> EmojiStyle:
        """``tone=dark,gender=man,diversity=0.3``, or any part of it.

        Raises ValueError, naming what is wrong.
        """
        found: dict[str, str | float] = {}
        for part in filter(None, (part.strip() for part in spec.split(","))):
            name, _, value = part.partition("=")
            try:
                if name not in ("tone", "gender", "diversity") or name in found:
                    raise ValueError
                found[name] = float(value) if name == "diversity" else value
            except ValueError:
                raise ValueError(
                    f"{part!r} is no emoji style; write tone=medium,gender=woman,diversity=0.5"
                ) from None
        return cls(**found)  # type: ignore[arg-type]

    def apply(self, emoji: str) -> str:
        """An emoji in its base form as it is to be shown; itself where it has no such form."""
        if any(tone in emoji for tone in TONES.values()):
            return emoji  # which was asked for by name
        gendered = base_emoji(self._as(emoji)) if self.gender else emoji
        return self._toned(gendered) if self.tone else gendered

    def _as(self, emoji: str) -> str:
        """As this gender: by a sign behind it, or another person in front; from any gender."""
        pair = next((pair for pair in _PAIRS if emoji in pair), None)
        if pair is not None:
            return pair[0] if self.gender == "woman" else pair[1]
        first, *rest = emoji.split(_ZWJ)
        if any(part[:1] in _PEOPLE for part in rest):  # couples and families
            return emoji
        if rest and rest[-1].removesuffix(_VS) in _BARE_SIGNS:
            rest.pop()
        people = [_WHO[self.gender]] if first in (_PERSON, *_WHO.values()) else []
        forms = [_ZWJ.join([person, *rest]) for person in people]
        forms.append(_ZWJ.join([first.removesuffix(_VS), *rest, _SIGN[self.gender]]))
        return next((form for form in forms if is_emoji(form)), emoji)

    def _toned(self, emoji: str) -> str:
        """With the tone behind its first sign; of people together, behind each."""
        tone = TONES[self.tone]
        parts = emoji.split(_ZWJ)
        first = parts[0].removesuffix(_VS) + tone
        forms = [_ZWJ.join(part.removesuffix(_VS) + tone for part in parts), first]
        forms.insert(1, _ZWJ.join([first, *parts[1:]]))
        forms.insert(0, _ZWJ.join([first, *parts[1:-1], parts[-1].removesuffix(_VS) + tone]))
        whole = (form for form in forms[:3] if is_emoji(form))
        return next(whole, first if len(parts) == 1 and is_emoji(first) else emoji)


def is_gendered(emoji: str) -> bool:
    """Whether an emoji is of a woman or a man."""
    return any(sign in emoji for sign in (*_BARE_SIGNS, *_WHO.values()))


PLAIN = EmojiStyle()
