"""Links between documents, without a language model: titles that a question or a sentence names.

* ``names``  words of a text, and the names among them
* ``titles`` the titles of a release, and the documents that have them
* ``stated`` links that a text states itself
* ``addressed`` links that sources state in a column
* ``units``  the sentences of a document
* ``hops``   from a question to the documents that it names, and from the best ones to those that their sentences name
* ``mentions`` names that a text mentions, by rules
* ``graph``  documents and the names that they mention: a walk, and a bridge by a rare name
* ``adjacency`` lists that stand end to end, of the graph and of words
* ``pairs``  entities that stand in relations with each other
* ``facts``  relations by the words that they share with a question
* ``push``   personalised PageRank by forward push
* ``datasets`` the dataset of mentions
* ``follow`` the links of a release, as a search follows them
"""
