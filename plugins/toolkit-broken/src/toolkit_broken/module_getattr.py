"""Raises for every attribute it is asked for."""


def __getattr__(name: str) -> object:
    raise RuntimeError(f"no {name} today")
