"""The file that `--tune` writes and `--tuned` reads: which config of Triton's matmul was fastest, by GPU, version of Triton and source.

Pure but for reading and writing the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from benches.run.json_file import read_json
from kernels.listed import first_of
from kernels.matmul.choice import Case, choosing_options
from kernels.writing import write_text

NAME = "tuned.json"  # of the copy in a run directory
VERSION = 1
NAMED = 3  # origins of choices that are not used


@dataclass(frozen=True)
class Origin:
    """What a choice was made on: it is used there only."""

    gpu: str | None
    triton: str | None
    source: str | None

    def __str__(self) -> str:
        return f"{self.gpu}, triton {self.triton}, source {self.source}"


class TunedChoice(BaseModel):
    """The choice for one case."""

    model_config = ConfigDict(extra="ignore")

    gpu: str = Field(description="The name of the GPU, as in environment.json (`device_name`).")
    triton: str | None = Field(description="The version of Triton; null where it is not installed.")
    source: str | None = Field(description="The source hash of the kernels (`source_hash` of a row).")
    precision: str = Field(description="The precision.")
    dims: dict[str, int] = Field(description="The sizes, in the op's order.")
    options: dict[str, str] = Field(description="Every option of the op but `data`.")
    choice: str = Field(description="The fastest config, as a row's `config` has it.")
    runner_up: str | None = Field(default=None, description="The second fastest config; null where no other could be timed.")
    margin: float | None = Field(default=None, ge=0, description="How much longer the runner-up takes, relative.")
    times_s: dict[str, PositiveFloat] = Field(description="The median time of each config that could be timed.")

    @property
    def case(self) -> Case:
        return self.precision, tuple(self.dims.items()), choosing_options(self.options)

    @property
    def origin(self) -> Origin:
        return Origin(self.gpu, self.triton, self.source)


class TunedFile(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(extra="ignore")

    tuned_version: int = Field(description="The version of this format: 1.")
    choices: list[TunedChoice] = Field(description="The choices, one for each case and origin.")


EMPTY = TunedFile(tuned_version=VERSION, choices=[])


def chosen(case: Case, origin: Origin, times_s: Mapping[str, float]) -> TunedChoice:
    """Returns the choice for a case from the median time of each config, of which there is at least one: the fastest; of equal ones the
    first by name."""
    first, *others = sorted(times_s, key=lambda name: (times_s[name], name))
    second = others[0] if others else None
    precision, dims, options = case
    return TunedChoice(
        gpu=str(origin.gpu),
        triton=origin.triton,
        source=origin.source,
        precision=precision,
        dims=dict(dims),
        options=dict(options),
        choice=first,
        runner_up=second,
        margin=times_s[second] / times_s[first] - 1 if second else None,
        times_s=dict(times_s),
    )


def with_choice(file: TunedFile, choice: TunedChoice) -> TunedFile:
    """Returns the file with a choice, which replaces an earlier one for the same case and origin."""
    others = [one for one in file.choices if (one.case, one.origin) != (choice.case, choice.origin)]
    return TunedFile(tuned_version=VERSION, choices=[*others, choice])


def usable(file: TunedFile, origin: Origin) -> tuple[dict[Case, str], list[str]]:
    """Returns the names of the chosen configs by case, and one line where choices of another origin are left out."""
    foreign = [one for one in file.choices if one.origin != origin]
    found = {one.case: one.choice for one in file.choices if one.origin == origin}
    if not foreign:
        return found, []
    made_on = first_of(list(dict.fromkeys(str(one.origin) for one in foreign)), NAMED)
    return found, [f"--tuned: {len(foreign)} of {len(file.choices)} choices are not used: made on {made_on}; here is {origin}"]


def read_tuned(path: Path) -> TunedFile:
    """Raises OSError, and ValueError with one line where the file is not one of this version."""
    found = read_json(path)
    version = found.get("tuned_version") if isinstance(found, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise ValueError(f"it has version {version}, and this suite reads version {VERSION}: tune again with --tune and another name")
    try:
        return TunedFile.model_validate(found)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"not a file that --tune wrote: {place + ': ' if place else ''}{first['msg']}") from None


def write_tuned(path: Path, file: TunedFile) -> None:
    """Writes the file atomically. Raises OSError."""
    write_text(path, file.model_dump_json(indent=2) + "\n")
