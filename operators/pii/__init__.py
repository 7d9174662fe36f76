"""Personal data in texts: spans by shape and checksum, found in linear time, marked or masked.

* ``bytes_of``  classes of bytes, and separators between digits
* ``addresses`` e-mail and network addresses
* ``numbers``   cards, IBANs and telephone numbers
* ``countries`` numbering plans of telephones
* ``secrets``   keys and tokens of services, and values that look drawn at random
* ``finder``    one scan for all of them
* ``masking``   texts without them, with stable pseudonyms
* ``operator``  the column
"""
