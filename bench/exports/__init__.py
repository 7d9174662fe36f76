"""How fast exports of mail and chats are read, and how memory grows with them: `python -m bench.exports`.

Each format is written with made-up messages to a folder that goes away, then read in a process of its own.
The growth is the peak of that process after reading, less the peak before, both as the system counts them.
"""
