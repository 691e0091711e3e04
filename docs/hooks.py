"""What the site has beside the pages in docs/: results, notebooks, options of the command line.

The Markdown links to files as they lie in the repository, so that it can be read there. The site
has docs/ at its root and paper/results/ where it is; links from one to the other are mended here.
"""

import contextlib
import functools
import io
import os
import posixpath
import re
from pathlib import Path
from unittest import mock

import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
RESULTS = "paper/results"
NOTEBOOKS = "paper/notebooks"
FORMULA = re.compile(r"(\$\$?)(.+?)\1", re.DOTALL)
"""TeX in a cell of text, between one or two dollars."""
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
"""A link or picture, up to the end of the path: what has a scheme, or is an anchor, is none."""
VARIANTS = {
    "train": ["S5", "peak", "polynomial"],
    "compile": ["peak"],
    "llc": ["", "calibrate"],
    "sweep": ["", "status"],
}
"""What the options of a command depend on."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the results, the notebooks, and the page of the command line."""
    for path in sorted((ROOT / RESULTS).rglob("*")):
        if path.suffix in (".md", ".svg", ".csv"):
            place = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    for path in sorted((ROOT / NOTEBOOKS).glob("*.ipynb")):
        for name, content in _notebook(path).items():
            files.append(File.generated(config, f"{NOTEBOOKS}/{name}", content=content))
    page = File.generated(config, "reference/command_line.md", content=command_line_page())
    files.append(page)
    return files


def _notebook(path: Path) -> dict[str, str | bytes]:
    """A notebook as Markdown, and its pictures, by the names of their files."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(_mathml, cell.source)
    resources = {"unique_key": path.stem, "output_files_dir": "."}
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources)
    text = text.replace('<table border="1" class="dataframe">', "<table>")  # as all other tables
    return {f"{path.stem}.md": text, **resources["outputs"]}


def _mathml(match: re.Match[str]) -> str:
    """A formula, in which Markdown finds nothing of its own."""
    dollars, tex = match.groups()
    display, tag = ("block", "div") if dollars == "$$" else ("inline", "span")
    formula = convert(tex, display=display).replace("*", "&#42;").replace("_", "&#95;")
    return f"<{tag}>{formula}</{tag}>"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links from the repository's place of a page at the site's."""
    place = page.file.src_uri
    if place.startswith(RESULTS):
        markdown = _plain(markdown)
    if place == f"{RESULTS}/README.md":
        markdown += _contents(files)
    return relink(markdown, place)


def _plain(table: str) -> str:
    """Two irreps, [3,3] [2,2], that are no reference; and what little TeX there is, without it."""
    table = table.replace("] [", "] \\[").replace(r"$\rho(ab)$", "ρ(ab)")
    return re.sub(r"\$(\w)_\{?(\w+)\}?\$", r"\1<sub>\2</sub>", table)


def _contents(files: Files) -> str:
    """A list of all other results."""
    pages = [f.src_uri.removeprefix(f"{RESULTS}/") for f in files if f.src_uri.startswith(RESULTS)]
    links = [
        f"- [{page}]({page})"
        for page in sorted(pages)
        if page.endswith(".md") and page != "README.md"
    ]
    return "\n".join(["\n## Every table\n", *links])


def relink(markdown: str, page: str) -> str:
    """The page's text with its links as they are in the site, where the page is at `page`."""
    in_repository = page if page.startswith("paper/") else f"docs/{page}"

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), match[1]))
        in_site = target.removeprefix("docs/")
        return f"]({posixpath.relpath(in_site, posixpath.dirname(page) or '.')}"

    return LINK.sub(link, markdown)


@functools.cache
def command_line_page() -> str:
    """Markdown: what `interp --help` says, and each command's own help."""
    from interp.cli import COMMANDS

    parts = ["# Command line", "What `--help` prints.", _fenced(_help())]
    for command in COMMANDS:
        parts.append(f"## {command}")
        for variant in VARIANTS.get(command, [""]):
            words = [command, *variant.split()]
            parts += [f"`interp {' '.join(words)} --help`", _fenced(_help(*words))]
    return "\n\n".join(parts) + "\n"


def _help(*words: str) -> str:
    from interp.cli import main

    printed = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS="88"), contextlib.redirect_stdout(printed):
        try:
            status = main([*words, "--help"])
        except SystemExit as done:  # tyro's way to end
            status = done.code
    if status or not printed.getvalue():
        raise RuntimeError(f"`interp {' '.join(words)} --help` fails with {status}")
    return printed.getvalue()


def _fenced(text: str) -> str:
    return f"```text\n{text.strip()}\n```"
