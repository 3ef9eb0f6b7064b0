"""Raises an exception that nobody can print."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this text cannot be read")

    __repr__ = __str__


raise Unprintable
