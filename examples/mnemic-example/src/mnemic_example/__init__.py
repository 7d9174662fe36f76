"""What a package can add to mnemic: a source, an operator with its dataset, a kind of memory, and a command."""
