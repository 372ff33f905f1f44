"""Every exception heed raises, as a tree.

::

    HeedError
    ├── InputError               what the caller handed over cannot be used
    │   ├── TextError            text that no tokenizer can take (lone surrogates)
    │   ├── SpanNotFoundError    a part of the prompt cannot be found again in the rendered text
    │   ├── TooLongError         more tokens than the model's context
    │   └── RecordError          a line or file of data that does not follow its format
    ├── ModelError               a model cannot be brought, loaded or read
    │   ├── ModelNotFoundError   no such folder, file, package or hub id
    │   ├── BrokenModelError     found, but cut, corrupt or not a model
    │   ├── UnsupportedModelError  its attention cannot be read exactly, with the reason
    │   └── OutOfMemoryError     the device ran out of memory
    ├── ProfileError             a profile is missing, damaged or made for another model
    ├── AbstainedError           a verdict that abstained was used as if it were yes or no
    ├── BlockedError             the guard stopped a text: flagged, or not to be judged
    ├── StoreError               a store of heed's own cannot be read or written
    ├── UpstreamError            who should answer a prompt gave no answer
    │   ├── UpstreamRefusedError     a server refuses the request: too many, a bad form
    │   │   └── UpstreamDeniedError  it refuses whatever is asked: key, model, address
    │   ├── UpstreamTimeoutError     it took too long
    │   └── UpstreamUnreachableError there is no connection to it
    ├── ExtraMissingError        an optional library is not installed; names the extra
    └── JobError                 a resumable job cannot start or go on

A message says what was expected, what was found and what to do.
"""


class HeedError(Exception):
    """Base of all heed errors: catch this to catch them all."""

    exit_code = 3
    """What the command line exits with: 2 for bad usage or input, 3 for what could not run."""


class InputError(HeedError):
    """What the caller handed over cannot be used."""

    exit_code = 2


class TextError(InputError):
    """Text that no tokenizer can take, such as a lone surrogate."""


class SpanNotFoundError(InputError):
    """A part of the prompt cannot be found again in the rendered text; never guessed."""


class TooLongError(InputError):
    """More tokens than the model's context holds."""


class RecordError(InputError):
    """A line or file of data does not follow its format."""


class ModelError(HeedError):
    """A model cannot be brought, loaded or read."""


class ModelNotFoundError(ModelError):
    """No folder, file, package or hub id of that name can be found."""


class BrokenModelError(ModelError):
    """The model was found, but it is cut, corrupt or not a model."""


class UnsupportedModelError(ModelError):
    """The model's attention cannot be read exactly; the message says why."""


class OutOfMemoryError(ModelError):
    """The device ran out of memory during a pass."""


class ProfileError(HeedError):
    """A profile is missing, damaged or made for another model."""


class AbstainedError(HeedError):
    """A verdict that abstained was used as if it were yes or no."""


class StoreError(HeedError):
    """A store of heed's own (feedback) cannot be read or written."""


class BlockedError(HeedError):
    """The guard stopped a text, flagged or not to be judged; the message quotes nothing of it."""


class UpstreamError(HeedError):
    """Who should answer a prompt gave no answer: it failed, or what it sent is none."""


class UpstreamRefusedError(UpstreamError):
    """A server refuses the request: a wrong key, an unknown model, too many requests, a bad form."""


class UpstreamDeniedError(UpstreamRefusedError):
    """A server refuses whatever is asked: a wrong key, a model or an address that it does not have (401, 403, 404)."""


class UpstreamTimeoutError(UpstreamError):
    """No answer came in time."""


class UpstreamUnreachableError(UpstreamError):
    """There is no connection to the server."""


class ExtraMissingError(HeedError):
    """An optional library is not installed; the message names the extra that brings it."""


class JobError(HeedError):
    """A resumable job cannot start or go on."""
