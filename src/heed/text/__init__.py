"""Words before any model: messages, spans, rendering that remembers, tokens found again."""

from heed.text.charmap import CharMap as CharMap
from heed.text.encode import Encoded as Encoded
from heed.text.encode import encode as encode
from heed.text.encode import encode_text as encode_text
from heed.text.evidence import Evidence as Evidence
from heed.text.evidence import Scene as Scene
from heed.text.evidence import WeightedSpan as WeightedSpan
from heed.text.message import Message as Message
from heed.text.message import Part as Part
from heed.text.message import Role as Role
from heed.text.message import ToolCall as ToolCall
from heed.text.message import Trust as Trust
from heed.text.message import messages_from as messages_from
from heed.text.render import render as render
from heed.text.rendered import Landing as Landing
from heed.text.rendered import Rendered as Rendered
from heed.text.span import CharSpan as CharSpan
from heed.text.span import TokenSpan as TokenSpan
from heed.text.split import sentences as sentences
from heed.text.split import words as words
from heed.text.tokenizer import FastTokenizer as FastTokenizer
