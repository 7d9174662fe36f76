"""The numbers of a bank: perplexity with and without memory, recall of questions, speed, and how sure each is.

* ``bank``       all of them, as `mnemic eval` prints them
* ``held_out``   held-out tokens, and what the model and each memory say of them
* ``gain``       shares of the retriever's gain, and losses by how frequent a token is
* ``bootstrap``  intervals by resampling documents
* ``blocks``     blocks of topics and slots, and ``blocking``: what it takes away to block a topic
* ``questions``  questions with the places of their evidence
* ``answer_words``  how many words of known answers a search hands on
* ``recall``     how much of that evidence a search finds under a budget
* ``canaries``   planted texts: whether they are whole, who finds them, which memory knows them
* ``thresholds`` which thresholds of rules make a better store of equal size
* ``speed``      how long a token takes with each memory
"""
