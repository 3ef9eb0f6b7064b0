"""`toolkit cache`: where the cache is, and an end to what is in it."""

from toolkit.cli.output import Output
from toolkit.cli.view import counted
from toolkit.discovery.cache import clear
from toolkit.discovery.index import SWITCH, cache_folder, is_cache_on


def clear_cache(output: Output) -> int:
    """Remove every file of the cache; return the exit status."""
    try:
        count = clear()
    except OSError as error:
        output.error("cache_not_cleared", f"{cache_folder()}: {error}")
        return 1
    output.say(f"{counted(count, 'environment')} forgotten, in {cache_folder()}")
    if not is_cache_on():
        output.hint(f"the cache is switched off here ({SWITCH}=off)")
    return 0
