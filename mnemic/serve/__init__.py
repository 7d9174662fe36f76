"""A bank as a server: the Model Context Protocol, plain HTTP, and chat completions as OpenAI has them.

* ``access``       tokens, and the tenant that each is bound to
* ``allowed``      which memories a tenant may have
* ``current``      the newest release, followed without a restart
* ``arguments``    what callers may send
* ``actions``      search, why, trace, remember: what all servers offer
* ``refusals``     errors as sentences, without paths
* ``tools``        the actions as tools of the Model Context Protocol
* ``chat``         requests for chat completions, and their answers
* ``speaker``      the recipe's language model with memories attached
* ``web``          the routes of the HTTP server, and ``openapi`` its description
* ``guard``        what a request passes first: host, origin, token, size, time, number
* ``connections``  clients that send or read too slowly
* ``running``      the servers themselves

Needs the extra `mnemic[serve]`. Every answer is of one tenant: the token says which, never the request.
"""
