"""Language models that write: one protocol, whether a server or this process runs the model.

* ``contracts``   a request, its reply, and the protocol
* ``served``      a server that speaks OpenAI's protocol of chat completions
* ``pace``        requests and tokens a minute
* ``local``       our own loader, with decoding that a JSON schema constrains
* ``json_text``   strict reading of what a model wrote, and a check against a schema

What a model writes is text of a stranger: it is bounded, parsed as JSON and checked. Nothing of it is run, and no
address in it is followed.
"""

from mnemic.writing.contracts import Reply, WritingModel, WritingRequest

__all__ = ["Reply", "WritingModel", "WritingRequest"]
