"""Names of the expression and identity directions."""

SIDES = ("Left", "Right")

_PAIRED = (
    "browDown",
    "browOuterUp",
    "cheekSquint",
    "eyeBlink",
    "eyeLookDown",
    "eyeLookIn",
    "eyeLookOut",
    "eyeLookUp",
    "eyeSquint",
    "eyeWide",
    "mouthDimple",
    "mouthFrown",
    "mouthLowerDown",
    "mouthPress",
    "mouthSmile",
    "mouthStretch",
    "mouthUpperUp",
    "noseSneer",
)
_SINGLE = (
    "browInnerUp",
    "cheekPuff",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthFunnel",
    "mouthLeft",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "tongueOut",
)

EXPRESSIONS = tuple(sorted([name + side for name in _PAIRED for side in SIDES] + list(_SINGLE)))
"""The 52 ARKit channels, in alphabetical order. Left and right are the character's own."""

SHAPES = (
    "headWidth",
    "headHeight",
    "headDepth",
    "jawWidth",
    "chinLength",
    "chinForward",
    "cheekFull",
    "eyeDistance",
    "eyeSize",
    "eyeHeight",
    "eyeTilt",
    "eyeDepth",
    "browHeight",
    "browRidge",
    "noseLength",
    "noseWidth",
    "noseTip",
    "noseBridge",
    "mouthWidth",
    "mouthHeight",
    "lipFull",
    "earSize",
    "neckWidth",
    "foreheadSlope",
)
"""The 24 identity directions; each is made for values of about -1.3 to 1.3."""


def expression(**values):
    """Weights of all channels from some: `jawOpen=1`, or both sides of a pair by `mouthSmile=1`."""
    weights = dict.fromkeys(EXPRESSIONS, 0.0)
    for name, value in values.items():
        names = [name] if name in weights else [name + side for side in SIDES]
        for each in names:
            if each not in weights:
                raise KeyError(f"expression channel: expected one of EXPRESSIONS, found {name!r}")
            weights[each] = float(value)
    return weights
