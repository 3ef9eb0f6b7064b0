"""Ends the process of whoever imports it: a script that was meant to be run."""

import sys

sys.exit("toolkit_broken.exits was imported")
