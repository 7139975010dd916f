"""`ProfileEvents`: profiles of any number of events on any number of workers; see `core/check/profile.py`."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from beam_mixpanel.core.check.profile import Profile, ProfileSettings
from beam_mixpanel.core.events.chunk import EventChunk
from beam_mixpanel.core.events.dead_letter import DeadLetter
from beam_mixpanel.transforms.prepare import PreparedEvents

_FANOUT: Final = 16
_TYPICAL_BYTES: Final = 2_000_000


class ProfileCoder(coders.Coder):
    """Pickles profiles, and guesses their size: Beam asks for it on every edge, and would pickle each time."""

    def encode(self, profile: Profile) -> bytes:
        """Write a profile."""
        return pickle.dumps(profile, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Profile:
        """Read a profile."""
        profile: Profile = pickle.loads(encoded)  # noqa: S301 - Beam's workers exchange pickles anyway
        return profile

    def estimate_size(self, profile: Profile) -> int:
        """Give what one of many events takes."""
        return _TYPICAL_BYTES

    def is_deterministic(self) -> bool:
        """Equal profiles may have been built in another order."""
        return False


coders.registry.register_coder(Profile, ProfileCoder)


class ProfileEvents(beam.PTransform):
    """Profiles what `PrepareEvents` gives; bounded input only.

    Each bundle makes one profile, and these are merged: a million events cost no more memory than a thousand.

    Args:
      settings: what the profile depends on besides events.
    """

    def __init__(self, settings: ProfileSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, events: PreparedEvents) -> PCollection[Profile]:
        """Give one profile."""
        of_events = beam.ParDo(_ProfileFn(self._settings)).with_input_types(EventChunk).with_output_types(Profile)
        of_letters = beam.ParDo(_ProfileFn(self._settings)).with_input_types(DeadLetter).with_output_types(Profile)
        parts = (
            events.prepared | "ProfilePrepared" >> of_events,
            events.invalid | "ProfileInvalid" >> of_letters,
        )
        # Beam's own fan-out names no types: it would pickle each profile a dozen times to learn its size.
        merge = _MergeFn(self._settings)
        return (
            parts
            | beam.Flatten()
            | "SpreadProfiles" >> beam.Map(_keyed).with_output_types(tuple[int, Profile])
            | "MergeSome" >> beam.CombinePerKey(merge).with_output_types(tuple[int, Profile])
            | "DropKeys" >> beam.Map(_without_key).with_output_types(Profile)
            | "MergeAll" >> beam.CombineGlobally(merge).with_output_types(Profile)
        )


class WriteProfile(beam.PTransform):
    """Writes a profile as one JSON file, on any file system of Beam.

    Args:
      path: the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, profile: PCollection[Profile]) -> PCollection[None]:
        """Give nothing."""
        return profile | beam.Map(_write, self._path).with_input_types(Profile, str).with_output_types(type(None))


def _keyed(profile: Profile) -> tuple[int, Profile]:
    return profile.events % _FANOUT, profile


def _without_key(keyed: tuple[int, Profile]) -> Profile:
    return keyed[1]


def _write(profile: Profile, path: str) -> None:
    with FileSystems.create(path, "application/json") as file:
        file.write(json.dumps(profile.result()).encode())


class _ProfileFn(beam.DoFn):
    def __init__(self, settings: ProfileSettings) -> None:
        self._settings = settings

    def start_bundle(self) -> None:
        self._profile = Profile(self._settings)
        self._empty = True

    def process(self, element: EventChunk | DeadLetter) -> None:
        self._empty = False
        if isinstance(element, DeadLetter):
            self._profile.add_letter(element)
        else:
            self._profile.add_events(element.bodies, element.originals)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if not self._empty:
            yield WindowedValue(self._profile, MIN_TIMESTAMP, (GlobalWindow(),))


class _MergeFn(beam.CombineFn):
    def __init__(self, settings: ProfileSettings) -> None:
        self._settings = settings

    def get_accumulator_coder(self) -> coders.Coder:
        return ProfileCoder()

    def create_accumulator(self) -> Profile:
        return Profile(self._settings)

    def add_input(self, merged: Profile, part: Profile) -> Profile:
        merged.merge(part)
        return merged

    def merge_accumulators(self, profiles: Iterable[Profile]) -> Profile:
        merged = self.create_accumulator()
        for profile in profiles:
            merged.merge(profile)
        return merged

    def extract_output(self, merged: Profile) -> Profile:
        return merged


def read_profile(path: str) -> dict[str, Any]:
    """Read what `WriteProfile` wrote.

    Raises:
      OSError: it is not there.
    """
    with FileSystems.open(path) as file:
        result: dict[str, Any] = json.loads(file.read())
    return result
