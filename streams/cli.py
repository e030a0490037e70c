"""The command `gridstream`."""


def main() -> None:
    """Run the command line."""
