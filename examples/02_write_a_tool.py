"""Write a tool, and call it the way a model does: by name, with JSON."""

import asyncio
from typing import Annotated

from pydantic import Field

from toolkit import ToolError, UserContext, UserContextToolFactory


class SplitBill:
    """Split a bill between friends, to the cent."""

    name = "split_bill"
    read_only = True

    def execute(self, cents: int, friends: Annotated[int, Field(ge=1)]) -> list[int]:
        """Split it.

        Raises:
            ToolError: The bill is negative; the caller reads this text.
        """
        if cents < 0:
            raise ToolError("The bill is negative; ask for your money back.")
        share, rest = divmod(cents, friends)
        return [share + (one < rest) for one in range(friends)]


async def main() -> None:
    """Call it well, then with arguments that do not fit, then so that it objects."""
    ann, factory = UserContext(user_id="ann"), UserContextToolFactory()
    async with factory.create_user_tool_system(ann, [SplitBill]) as system:
        for cents, friends in ((1000, 3), (1000, 0), (-1, 2)):
            arguments = f'{{"cents": {cents}, "friends": {friends}}}'
            result = await system.execute("split_bill", arguments)
            print(result.value_json() if result.ok else result.error)


if __name__ == "__main__":
    asyncio.run(main())
