"""Text as a reader can see it: what cannot be shown is replaced, what is invisible gets a name.

Comes in: any string, hostile ones included (terminal escapes, direction overrides, zero-width and tag
characters that carry text nobody sees, lone surrogates). Goes out: strings that are safe to show.
Knows neither HTML nor terminals.
"""

import re
from collections.abc import Iterator

_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile(
    r"[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    r"\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
_NAMES = {
    "\u00ad": "SHY",
    "\u061c": "ALM",
    "\u200b": "ZWSP",
    "\u200e": "LRM",
    "\u200f": "RLM",
    "\u2028": "LS",
    "\u2029": "PS",
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2060": "WJ",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
    "\ufeff": "BOM",
}


def clean(text: str) -> str:
    """The text with U+FFFD for every character that no document can carry; as long as before.

    These are control characters (but not tab, line feed, carriage return), lone surrogates and the
    two noncharacters of the basic plane.
    """
    return _UNSHOWABLE.sub("\ufffd", text)


def name(char: str) -> str:
    """What an invisible character is called: ``RLO``, ``ZWSP``, ``tag a`` or its code ``U+2061``."""
    if "\U000e0020" <= char <= "\U000e007e":
        return f"tag {chr(ord(char) - 0xE0000)}"
    return _NAMES.get(char, f"U+{ord(char):04X}")


def parts(text: str) -> Iterator[tuple[str, str]]:
    """Cut text at its invisible characters.

    Yields
    ------
    tuple[str, str]
        A stretch and ``""``, or one invisible character and its name. The stretches joined are
        ``clean(text)``.
    """
    text = clean(text)
    at = 0
    for found in _INVISIBLE.finditer(text):
        if found.start() > at:
            yield text[at : found.start()], ""
        yield found.group(), name(found.group())
        at = found.end()
    if at < len(text):
        yield text[at:], ""


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 token``, ``1,024 tokens``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def spelled(text: str) -> str:
    """The text with every invisible character written out, as in ``⟨RLO⟩``.

    Tabs become four spaces and a lone carriage return ``⟨CR⟩``, so that what a terminal shows is
    what the string says.
    """
    whole = "".join(f"⟨{called}⟩" if called else stretch for stretch, called in parts(text))
    return whole.replace("\r\n", "\n").replace("\r", "⟨CR⟩").replace("\t", "    ")
