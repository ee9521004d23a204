"""Text from outside: made safe to show, or refused."""

from __future__ import annotations

#: A message longer than this is cut: one frame must not fill the screen.
_LONGEST_LINE = 1000


def visible(text: str) -> str:
    """Replace control characters by escapes and cut what is too long."""
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


#: The longest charge point id that is taken; OCPP-J names no limit.
LONGEST_CHARGE_POINT_ID = 48


def is_charge_point_id(text: str) -> bool:
    """Whether a text may be a charge point's id: printable, not empty, no path trick."""
    return (
        0 < len(text) <= LONGEST_CHARGE_POINT_ID and text.isprintable() and text not in (".", "..")
    )
