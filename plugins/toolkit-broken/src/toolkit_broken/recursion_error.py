"""Runs out of stack while importing."""


def descend() -> None:
    descend()


descend()
