"""Cannot be compiled."""

def execute(self, text: str) -> str
    return text
