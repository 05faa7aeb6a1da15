"""All sizes of a model: the twin of the Rust crate's `ModelConfig`, with the same JSON keys."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

IMAGE_CHANNELS = 3
PLANES = 3
HARMONICS = 27


class ConfigError(ValueError):
    """All problems of a configuration, one line each."""

    def __init__(self, problems: list[str]):
        super().__init__("model configuration:\n  " + "\n  ".join(problems))
        self.problems = problems


def _channels(widest: int):
    widths = [widest] * 4 + [widest >> halvings for halvings in range(1, 5)]
    return lambda: {4 << i: width for i, width in enumerate(widths)}


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model. Ranges and meaning of the fields are those of the Rust struct.

    The defaults are the sizes of the GPAvatar authors' released model.
    """

    source_size: int = 512
    plane_size: int = 256
    plane_channels: int = 32
    points: int = 5023
    neighbours: int = 8
    point_feature: int = 32
    point_hidden: int = 64
    point_output: int = 32
    feature_hidden: int = 128
    rgb_hidden: int = 64
    coarse_samples: int = 32
    fine_samples: int = 32
    low_res_size: int = 128
    low_res_channels: int = 32
    output_size: int = 512
    style_size: int = 512
    style_layers: int = 8
    encoder_channels: dict[int, int] = field(default_factory=_channels(256))
    super_resolver_channels: dict[int, int] = field(default_factory=_channels(256))
    encoder_decoder_channels: dict[int, int] = field(default_factory=_channels(512))
    super_resolver_decoder_channels: dict[int, int] = field(default_factory=_channels(512))
    focal: float = 12.0
    point_weighting: str = "released"
    attention: str = "softmax"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Reads and validates; fields that are left out take their defaults."""
        values = json.loads(text)
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError([f"{name}: unknown field" for name in unknown])
        for name, value in values.items():
            if name.endswith("_channels") and isinstance(value, dict):
                values[name] = {int(size): channels for size, channels in value.items()}
        config = cls(**values)
        config.validate()
        return config

    @classmethod
    def open(cls, path: str | Path) -> ModelConfig:
        """Reads a JSON file."""
        return cls.from_json(Path(path).read_text())

    def to_json(self) -> str:
        """JSON with all fields, as the Rust crate reads it."""
        return json.dumps(dataclasses.asdict(self))

    def validate(self) -> None:
        """Checks all fields against their ranges; raises ConfigError with all the problems."""
        problems = []

        def expect(good, name, expected, found):
            if not good:
                problems.append(f"{name}: expected {expected}, found {found}")

        for name in ("source_size", "plane_size", "output_size"):
            size = getattr(self, name)
            power = size in range(8, 4097) and size & (size - 1) == 0
            expect(power, name, "a power of two in 8..=4096", size)
        expect(
            self.source_size in (self.plane_size, 2 * self.plane_size),
            "source_size",
            f"plane_size ({self.plane_size}) or twice that",
            self.source_size,
        )
        for name, least, most in [
            ("low_res_size", 2, self.output_size),
            ("points", self.neighbours, 65535),
            ("coarse_samples", 2, 128),
            ("fine_samples", 2, 128),
        ]:
            value = getattr(self, name)
            expect(least <= value <= most, name, f"{least}..={most}", value)
        for name, step, most in [
            ("plane_channels", 4, 64),
            ("neighbours", 1, 8),
            ("point_feature", 1, 1024),
            ("point_hidden", 16, 128),
            ("point_output", 4, 64),
            ("feature_hidden", 8, 128),
            ("rgb_hidden", 8, 64),
            ("low_res_channels", 4, 64),
            ("style_size", 4, 4096),
            ("style_layers", 1, 64),
        ]:
            value = getattr(self, name)
            good = value % step == 0 and step <= value <= most
            expect(good, name, f"a multiple of {step} in {step}..={most}", value)
        gathered = self.plane_channels + self.point_hidden
        expect(gathered <= 124, "plane_channels + point_hidden", "at most 124", gathered)
        for name, top in [
            ("encoder_channels", self.source_size),
            ("super_resolver_channels", self.output_size),
            ("encoder_decoder_channels", self.plane_size),
            ("super_resolver_decoder_channels", self.output_size),
        ]:
            table = getattr(self, name)
            size = 4
            while size <= top:
                expect(size in table, name, f"an entry for resolution {size}", "none")
                size *= 2
            for size, channels in table.items():
                good = channels % 4 == 0 and 4 <= channels <= 4096
                expect(good, f"{name}[{size}]", "a multiple of 4 in 4..=4096", channels)
        expect(
            math.isfinite(self.focal) and self.focal > 0,
            "focal",
            "a positive finite number",
            self.focal,
        )
        for name, values in [
            ("point_weighting", ("released", "paper")),
            ("attention", ("softmax", "ratio")),
        ]:
            value = getattr(self, name)
            expect(value in values, name, " or ".join(values), value)
        if problems:
            raise ConfigError(problems)
