"""Two tools of one name: nobody wins silently, and one setting settles it."""

import asyncio

from toolkit import Settings, Toolkit, UserContext

OURS = frozenset({"toolkit-text"})


class WordCount:
    """Count words by their spaces; toolkit-text has a tool of this name too."""

    name = "word_count"

    def execute(self, text: str) -> int:
        """Count."""
        return len(text.split())


async def show(title: str, settings: Settings) -> None:
    """Print the names one user gets, and what the bare name answers."""
    user = UserContext(user_id="ann")
    with Toolkit(settings) as kit:
        async with kit.user(user, tool_classes=[WordCount]) as ann:
            names = [one.name for one in ann.get_all_tools()]
            print(f"{title}: {[name for name in names if 'count' in name]}")
            for one in ann.collisions:
                print(f"  {'settled' if one.settlement.decided else one.remedy}")
            for name in ("word_count", "toolkit-text.word_count"):
                result = await ann.execute(name, {"text": "to be"})
                print(f"  {name}: {result.value if result.ok else result.error}")


if __name__ == "__main__":
    asyncio.run(show("as installed", Settings(allow=OURS)))
    settled = Settings(allow=OURS, prefer={"word_count": "toolkit-text"})
    asyncio.run(show("settled", settled))
