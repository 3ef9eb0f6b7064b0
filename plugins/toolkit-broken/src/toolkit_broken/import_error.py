"""Needs a module that is not installed, the commonest fault there is."""

import a_module_that_nobody_ever_installs
