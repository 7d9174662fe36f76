"""The datastore's pass, measured."""
