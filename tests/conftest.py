"""Tests build in their own process unless they name an engine: where Ray is installed, builds would start it."""

import os

os.environ["MNEMIC_ENGINE"] = "inline"
