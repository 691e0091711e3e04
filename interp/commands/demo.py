"""Everything at once."""

from dataclasses import dataclass
from pathlib import Path

from interp.arguments import parse


@dataclass(frozen=True)
class Demo:
    """Train, compile and measure a network of each kind, and write a report."""

    to: Path = Path("demo")
    """Folder for the runs and report.html."""
    fast: bool = False
    """Smaller and for fewer steps, to see that everything works."""
    quiet: bool = False
    """Show no progress."""


def demo(arguments: list[str]) -> int:
    """Train, compile, measure and report a network of each kind: `interp demo`."""
    options = parse(Demo, "demo", arguments)
    from interp.progress import progress
    from paper.demo import run_demo

    with progress(options.quiet) as show:
        page = run_demo(options.to, fast=options.fast, progress=show)
    print(page)
    return 0
