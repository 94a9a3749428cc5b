"""Write the hashes of every file of every pin into deploy/clients/**/*.txt: what is installed is what was pinned.

Run by `make lock`. The pins stay as they are written; uv says the hashes (needs uv and a package index).
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

CLIENTS = Path(__file__).parents[1] / "deploy" / "clients"


def main() -> int:
    """Write every file."""
    uv = shutil.which("uv")
    if uv is None:
        sys.stderr.write("uv is not on PATH\n")
        return 1
    for path in sorted(CLIENTS.rglob("*.txt")):
        path.write_text(hashed(path.read_text("utf-8"), uv), "utf-8")
    return 0


def hashed(text: str, uv: str) -> str:
    """The file with the hashes below each pin."""
    comments, pins = split(text)
    python = re.search(r"^# python: (\S+)", text, re.MULTILINE)
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--universal", "--python-version", python[1] if python else "3.12", "-"]
    compiled = subprocess.run(  # noqa: S603 - uv, with pins of ours
        command,
        input="\n".join(pins),
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    hashes = {
        normal(block): re.findall(r"--hash=\S+", block)
        for block in re.split(r"\n(?=\S)", compiled)
        if "--hash=" in block
    }
    entries = [" \\\n    ".join([pin, *hashes[normal(pin)]]) for pin in pins]
    return "\n".join([*comments, *entries, ""])


def split(text: str) -> tuple[list[str], list[str]]:
    """The comments, and the pins without their hashes."""
    lines = [line.strip().removesuffix("\\").strip() for line in text.splitlines()]
    comments = [line for line in lines if line.startswith("#")]
    return comments, [line for line in lines if line and not line.startswith(("#", "--hash="))]


def normal(pin: str) -> str:
    """The name of a pin's package, in the one spelling that all tools agree on."""
    return re.sub(r"[-_.]+", "-", pin.partition("==")[0].strip()).lower()


if __name__ == "__main__":
    raise SystemExit(main())
