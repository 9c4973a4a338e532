"""The text that is typed where none is given: chat written for this bench."""

from __future__ import annotations

from pathlib import Path

LINES = (
    "Is the kettle still leaking or did you get a new one?",
    "It leaks, but only when nobody is looking 😂",
    "I can bring mine over on Thursday if that helps",
    "Thank you! I owe you about twelve cups of tea",
    "what time does the swimming pool open on Sundays?",
    "Half past nine, and it's always full of children by ten",
    "ok then let's meet there at nine and wait outside",
    "My phone died halfway through the film, so I have no idea how it ended.",
    "The dog was fine. Everyone else wasn't.",
    "I have never been so happy to hear about a dog ❤️",
    "Can you send me the address of the new office please?",
    "Sure, it's 48 Station Road, second floor, and the bell doesn't work",
    "so how do I get in",
    "You shout. Honestly, everybody does it",
    "We ran out of paint before the last wall, it looks like a flag now",
    "Leave it, people will think you did it on purpose",
    "My mother already asked me which country it is",
    "did anyone feed the cat this morning?",
    "She says no, but there's an empty tin behind the door",
    "I don't trust her, she told me the same thing yesterday",
    "Running ten minutes late, the bus driver stopped to buy a sandwich",
    "No problem, I only just found a table",
    "They have soup and something called garden surprise",
    "I would like to be surprised by soup, thanks",
    "Happy birthday! I hope the weather stays kind to you 🎉",
    "Thanks, it's raining, but the cake is enormous",
    "Save me a corner with a lot of icing",
    "The exam was much easier than last year's, I even had time to check my answers",
    "That is great news, you worked really hard for it!",
    "I also slept for eleven hours afterwards",
    "Could you water my tomatoes while I'm away next week?",
    "Of course, as long as I'm allowed to eat some of them",
    "Take the red ones, the green ones belong to the snails",
    "why is there a ladder in our living room",
    "I wanted to change the light bulb and then I got hungry",
    "So the ladder stays until after dinner?",
    "The ladder is part of the family now",
    "Let me know when you get home safely, ok?",
    "Just walked in, my feet hurt but it was worth it",
    "Good night, talk to you tomorrow 😘",
)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises ValueError where there is no such file, it is not UTF-8, or all of it is blank.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        raise ValueError(f"{path}: no such file; give a text with a message a line") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8; save it as plain text") from None
    found = [line for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{path} has no text; give a message a line")
    return found
