"""A shell command that is given the folder: the run of the notebooks, and its yardstick."""

import subprocess


def build(command: str, folder: str) -> dict[str, int]:
    """Run the command, pass over what it prints, and count nothing."""
    subprocess.run(["/bin/sh", "-c", command, "sh", folder], check=True, stdout=subprocess.DEVNULL)
    return {}
