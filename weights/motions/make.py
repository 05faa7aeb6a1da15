"""Makes the motions beside this script: python3 make.py [NAME ...]

Expression channels are ARKit's, and motions list only those that they move. Angles of the head are
radians about +X (down), +Y (to the person's left) and +Z (to the person's right shoulder); the jaw
is left to the channel jawOpen. Every motion ends where it begins, so that it can be repeated.
"""

import json
import math
import sys
from pathlib import Path

FPS = 24
# From the camera to the middle of the head.
DISTANCE = 10.6


def both(**channels):
    """Channels of which there is one for each side."""
    return {
        f"{name}{side}": value for name, value in channels.items() for side in ("Left", "Right")
    }


def added(*expressions):
    """The sum of some expressions, each channel kept between 0 and 1."""
    total = {}
    for expression in expressions:
        for channel, value in expression.items():
            total[channel] = total.get(channel, 0.0) + value
    return {channel: min(max(value, 0.0), 1.0) for channel, value in total.items()}


def scaled(expression, factor):
    return {channel: factor * value for channel, value in expression.items()}


def ease(x):
    """From 0 to 1 with the least jerk (Flash and Hogan, 1985)."""
    x = min(max(x, 0.0), 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


def hold(time, begin, end, rise, fall):
    """1 between begin and end; eased from 0 in `rise` seconds before and to 0 in `fall` after."""
    return ease((time - begin) / rise + 1) * (1 - ease((time - end) / fall))


def wave(time, duration, cycles, phase=0.0):
    """A sine of as many cycles as `duration` is to have."""
    return math.sin(2 * math.pi * (cycles * time / duration + phase))


def blinks(time, moments):
    """Lids that close in a tenth of a second and open in two, with the brows a little. They stay
    closed for long enough that a frame shows it."""
    closed = max(hold(time, moment, moment + 0.05, 0.1, 0.2) for moment in moments)
    return both(eyeBlink=closed, browDown=0.08 * closed)


def gaze(left, up):
    """Eyes turned to the person's left (or right, if negative) and up (or down)."""
    to_left, to_right = max(left, 0.0), max(-left, 0.0)
    return {
        "eyeLookOutLeft": to_left,
        "eyeLookInRight": to_left,
        "eyeLookInLeft": to_right,
        "eyeLookOutRight": to_right,
        **both(eyeLookUp=max(up, 0.0), eyeLookDown=max(-up, 0.0)),
    }


def saccades(time, fixations):
    """The gaze that jumps, in a twentieth of a second, to each (moment, left, up) in turn."""
    _, left, up = fixations[0]
    for moment, next_left, next_up in fixations[1:]:
        there = ease((time - moment) / 0.05)
        left, up = left + there * (next_left - left), up + there * (next_up - up)
    return gaze(left, up)


def frames(duration):
    return [i / FPS for i in range(round(duration * FPS))]


def motion(name, duration, moment):
    """A motion of `moment(time)`: expression, three angles of the head, elevation and azimuth."""
    moments = [moment(time) for time in frames(duration)]
    moved = {
        channel for expression, _, _ in moments for channel, v in expression.items() if v > 5e-4
    }
    channels = sorted(moved)
    return {
        "version": 1,
        "name": name,
        "licence": "MIT OR Apache-2.0",
        "fps": FPS,
        "channels": channels,
        "orbit": [[DISTANCE, *orbit] for _, _, orbit in moments],
        "pose": [[*head, 0, 0, 0] for _, head, _ in moments],
        "expression": [[expression.get(c, 0.0) for c in channels] for expression, _, _ in moments],
    }


# The mouth's shape for a sound, and how firmly it dominates its neighbours.
VISEMES = {
    "rest": ({}, 1.0),
    "P": (
        {"jawOpen": 0.05, "mouthClose": 0.05, "mouthRollUpper": 0.2, "mouthRollLower": 0.2}
        | both(mouthPress=0.45),
        5.0,
    ),
    "F": ({"jawOpen": 0.1, "mouthRollLower": 0.5} | both(mouthUpperUp=0.2), 4.0),
    "T": ({"jawOpen": 0.16} | both(mouthLowerDown=0.2, mouthStretch=0.1), 1.0),
    "L": ({"jawOpen": 0.24, "tongueOut": 0.08} | both(mouthLowerDown=0.15), 1.0),
    "S": ({"jawOpen": 0.06} | both(mouthStretch=0.25, mouthLowerDown=0.25, mouthUpperUp=0.12), 2.0),
    "SH": ({"jawOpen": 0.1, "mouthFunnel": 0.55, "mouthPucker": 0.15}, 2.0),
    "R": ({"jawOpen": 0.16, "mouthFunnel": 0.3, "mouthPucker": 0.25}, 1.2),
    "W": ({"jawOpen": 0.06, "mouthPucker": 0.85}, 3.0),
    "K": ({"jawOpen": 0.2} | both(mouthStretch=0.1, mouthLowerDown=0.1), 0.7),
    "AA": ({"jawOpen": 0.62} | both(mouthLowerDown=0.2, mouthUpperUp=0.1), 1.2),
    "EH": ({"jawOpen": 0.42} | both(mouthSmile=0.15, mouthStretch=0.2, mouthLowerDown=0.2), 1.0),
    "IY": ({"jawOpen": 0.18} | both(mouthSmile=0.4, mouthStretch=0.15, mouthLowerDown=0.1), 1.2),
    "OW": ({"jawOpen": 0.42, "mouthFunnel": 0.55, "mouthPucker": 0.2}, 1.3),
    "UW": ({"jawOpen": 0.14, "mouthPucker": 0.75, "mouthFunnel": 0.25}, 1.5),
}

# "Hello! I was one picture. Now I move, and talk, and smile at you." Sounds and their seconds.
SENTENCE = (
    "rest .30 K .06 EH .12 L .08 OW .24 rest .22 "
    "AA .12 IY .10 W .09 AA .10 S .08 W .09 AA .12 T .08 P .09 IY .10 K .08 SH .10 R .16 rest .28 "
    "T .07 AA .14 UW .10 AA .12 IY .08 P .09 UW .20 F .12 rest .10 AA .08 T .06 T .06 AA .22 K .10 "
    "rest .08 AA .08 T .06 S .09 P .09 AA .12 IY .10 L .10 AA .06 T .08 SH .08 UW .26 rest .50"
)


def spoken(sentence):
    """Middle, half width and viseme of every sound."""
    words = sentence.split()
    sounds, begin = [], 0.0
    for sound, seconds in zip(words[::2], map(float, words[1::2]), strict=True):
        sounds.append((begin + seconds / 2, seconds / 2, *VISEMES[sound]))
        begin += seconds
    return sounds, begin


def mouth(time, sounds):
    """The mean of all sounds, weighted by how much each dominates the moment: coarticulation after
    Cohen and Massaro, "Modeling coarticulation in synthetic visual speech", 1993."""
    weights = [
        firmness * math.exp(-(((time - middle) / (0.8 * half + 0.03)) ** 2))
        for middle, half, _, firmness in sounds
    ]
    total = sum(weights)
    return added(*(scaled(s[2], w / total) for s, w in zip(sounds, weights, strict=True)))


def talking():
    sounds, duration = spoken(SENTENCE)
    smile = duration - 1.05

    def moment(time):
        accents = [(0.5, 0.5), (1.5, 0.35), (2.75, 0.6), (3.65, 0.4)]
        accent = sum(size * hold(time, at, at + 0.1, 0.18, 0.4) for at, size in accents)
        smiling = hold(time, smile, duration - 0.35, 0.4, 0.3)
        expression = added(
            mouth(time, sounds),
            {"browInnerUp": 0.45 * accent},
            both(browOuterUp=0.35 * accent, eyeWide=0.15 * accent),
            both(mouthSmile=0.4 * smiling, cheekSquint=0.35 * smiling, eyeSquint=0.2 * smiling),
            blinks(time, [1.22, 2.5, duration - 0.75]),
            saccades(
                time,
                [
                    (0, 0, 0),
                    (0.9, 0.12, 0.05),
                    (1.25, 0, 0),
                    (2.0, -0.15, 0.1),
                    (2.5, 0, -0.04),
                    (3.4, 0.1, 0),
                    (duration - 0.7, 0, 0),
                ],
            ),
        )
        head = (
            0.06 * accent,
            0.08 * wave(time, duration, 1) + 0.03 * wave(time, duration, 3),
            0.03 * wave(time, duration, 2),
        )
        orbit = (2 * wave(time, duration, 1, 0.25), 8 * wave(time, duration, 1))
        return expression, head, orbit

    return motion("talking", duration, moment)


EMOTIONS = [
    (
        "joy",
        {"jawOpen": 0.2, "browInnerUp": 0.15}
        | both(mouthSmile=0.85, cheekSquint=0.6, eyeSquint=0.35, mouthUpperUp=0.2, mouthDimple=0.2),
        (-0.06, 0.08, -0.06),
    ),
    (
        "surprise",
        {"jawOpen": 0.65, "browInnerUp": 0.9, "mouthFunnel": 0.2}
        | both(browOuterUp=0.8, eyeWide=0.9),
        (-0.08, 0.0, 0.0),
    ),
    (
        "anger",
        {"jawForward": 0.2, "mouthShrugLower": 0.3}
        | both(browDown=0.95, noseSneer=0.5, eyeSquint=0.4, mouthPress=0.5, mouthFrown=0.35),
        (0.1, -0.05, 0.0),
    ),
    (
        "sadness",
        {"browInnerUp": 0.9, "mouthShrugLower": 0.45, "mouthPucker": 0.1}
        | both(mouthFrown=0.8, eyeLookDown=0.4, eyeBlink=0.2),
        (0.12, 0.06, 0.08),
    ),
    (
        "wink",
        {
            "eyeBlinkLeft": 1.0,
            "cheekSquintLeft": 0.7,
            "mouthSmileLeft": 0.8,
            "mouthSmileRight": 0.35,
        }
        | {"browDownLeft": 0.3, "browOuterUpRight": 0.4, "mouthLeft": 0.15},
        (0.0, 0.1, 0.1),
    ),
]


def emotions():
    seconds, rise = 1.5, 0.45
    begin = 0.6
    duration = begin + seconds * len(EMOTIONS) + 0.5

    def moment(time):
        expression, head = {}, [0.0, 0.0, 0.0]
        for i, (_, face, angles) in enumerate(EMOTIONS):
            start = begin + i * seconds
            # The next one rises while this one falls.
            amount = hold(time, start + rise, start + seconds, rise, rise)
            expression = added(expression, scaled(face, amount))
            head = [h + amount * angle for h, angle in zip(head, angles, strict=True)]
        changes = [begin + i * seconds + 0.15 for i in (0, 2, 3)]
        expression = added(expression, blinks(time, changes))
        orbit = (3 * wave(time, duration, 2), 15 * wave(time, duration, 1))
        return expression, head, orbit

    return motion("emotions", duration, moment)


def blink():
    duration = 3.0

    def moment(time):
        expression = added(
            blinks(time, [0.7, 2.2, 2.55]),
            saccades(
                time,
                [(0, 0, 0), (0.75, 0.45, 0.1), (1.3, -0.4, 0.05), (1.8, -0.1, -0.3), (2.25, 0, 0)],
            ),
            both(mouthSmile=0.12 + 0.05 * wave(time, duration, 1)),
        )
        head = (0.02 * wave(time, duration, 1), 0.03 * wave(time, duration, 1, 0.1), 0.0)
        return expression, head, (0, 0)

    return motion("blink", duration, moment)


def look_around():
    duration = 4.0

    def moment(time):
        # The eyes are where the head will be a little later.
        lead = wave(time + 0.25, duration, 1) - wave(time, duration, 1)
        expression = added(
            gaze(0.5 * wave(time, duration, 1) + 0.8 * lead, 0.3 * wave(time, duration, 2)),
            blinks(time, [0.35, 2.3]),
            {"browInnerUp": 0.25 * max(wave(time, duration, 2), 0.0)},
            both(browOuterUp=0.2 * max(wave(time, duration, 2), 0.0), mouthSmile=0.2),
        )
        head = (
            -0.08 * wave(time, duration, 2),
            0.16 * wave(time, duration, 1),
            0.04 * wave(time, duration, 1),
        )
        return expression, head, (6 * wave(time, duration, 2), -20 * wave(time, duration, 1))

    return motion("look around", duration, moment)


MOTIONS = {"talking": talking, "emotions": emotions, "blink": blink, "look_around": look_around}


def number(value):
    """Three digits, without zeros that say nothing."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def written(document):
    """JSON with a line for every frame."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            rows = ",\n".join(f"    [{', '.join(map(number, row))}]" for row in value)
            lines.append(f"  {json.dumps(key)}: [\n{rows}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main():
    for name in sys.argv[1:] or MOTIONS:
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(written(MOTIONS[name]()))
        print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
