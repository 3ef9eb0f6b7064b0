"""Raises what `except Exception` does not catch."""


class Uncaught(BaseException):
    pass


raise Uncaught("raised while importing")
