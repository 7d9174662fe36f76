"""What the engines cost, measured."""
