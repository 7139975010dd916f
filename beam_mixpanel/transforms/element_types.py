"""Which types of elements cannot be events, by the type hints of a PCollection."""

from __future__ import annotations

from typing import Any, Final

from apache_beam.pvalue import PCollection
from apache_beam.typehints import typehints
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from beam_mixpanel.core.events.elements import advice_for

_COLLECTIONS: Final = (
    typehints.TupleConstraint,
    typehints.SequenceTypeConstraint,  # lists, sets and tuples of any length, too
    typehints.IteratorHint.IteratorTypeConstraint,
)
_SCALARS: Final = (int, float, complex, type(None))
_FOREIGN: Final = ("DataFrame", "Series", "PubsubMessage", "RecordBatch", "Table")
"""By name, so that their packages are not imported for it."""


def check_element_type(events: PCollection[Any]) -> None:
    """Refuse a PCollection whose type hint says that no element can be an event.

    Raises:
      TypeError: the message names the type and the cure.
    """
    hint = convert_to_beam_type(events.element_type)
    if not _is_no_event(hint):
        return
    raise TypeError(f"elements of type {events.element_type} cannot be events; {advice_for(_name_of(hint))}")


def _is_no_event(hint: Any) -> bool:
    if isinstance(hint, typehints.UnionConstraint):
        members = list(hint.union_types)
        return bool(members) and all(_is_no_event(member) for member in members)
    if isinstance(hint, _COLLECTIONS):
        return True
    if not isinstance(hint, type):
        return False
    is_collection = issubclass(hint, (tuple, list, set, frozenset)) and not hasattr(hint, "_fields")
    return is_collection or issubclass(hint, _SCALARS) or hint.__name__ in _FOREIGN


def _name_of(hint: Any) -> str:
    """Return the name by which `advice_for` knows a type."""
    if isinstance(hint, (typehints.TupleConstraint, typehints.TupleSequenceConstraint)):
        return "tuple"
    if isinstance(hint, _COLLECTIONS):
        return "list"
    return getattr(hint, "__name__", "")
