"""The pages as they are built: without a warning, with nothing from elsewhere, and with every error and option."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

ROOT = Path(__file__).resolve().parents[2]
FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("video", "src"), ("source", "src"), ("link", "href")}
RAISE = ("MaskanimError", "MissingPackageError", "needs_extra")


class Links(HTMLParser):
    """What a page links to or fetches, and the places in it that can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if value and (tag, name) in FETCHED:
                self.fetched.append(value)
            elif value and (tag, name) == ("a", "href"):
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built strictly; what Sphinx says is an error."""
    pytest.importorskip("sphinx", reason="building the pages needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-j", "2", ROOT / "docs", folder / "html"]
    built = subprocess.run([*command, "-d", folder / "doctrees"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Links]:
    return {page.name: Links(page) for page in site.glob("*.html")}


def test_every_link_leads_somewhere(site: Path, pages: dict[str, Links]) -> None:
    """Inside of the site to a page and a place that are there; others are only looked at."""
    for name, page in pages.items():
        for link in page.links:
            parsed = urlparse(link)
            if parsed.scheme:
                assert parsed.scheme == "https" and "." in parsed.netloc, f"{name}: {link}"
                continue
            target = unquote(parsed.path) or name
            assert (site / target).is_file(), f"{name}: {link}"
            if parsed.fragment and target in pages:
                assert unquote(parsed.fragment) in pages[target].anchors | {""}, f"{name}: {link}"


def test_opening_a_page_asks_nothing_of_any_other_machine(site: Path, pages: dict[str, Links]) -> None:
    elsewhere = [(name, each) for name, page in pages.items() for each in page.fetched if urlparse(each).netloc]
    assert not elsewhere
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text("utf-8")), style
    for page in site.glob("*.html"):
        for script in re.findall(r"<script[^>]*>(.*?)</script>", page.read_text("utf-8"), re.DOTALL):
            assert "http" not in script, f"{page.name}: {script}"


def test_every_error_that_the_code_can_raise_is_listed_with_its_cure(site: Path) -> None:
    sys.path.insert(0, str(ROOT / "docs" / "pages"))
    try:
        from error_list import raised
    finally:
        sys.path.pop(0)
    found = list(raised())
    assert len(found) == sum(map(_raising, ("maskanim", "runtime", "app", "train", "export", "benchmarks"))) > 300
    for one in found:
        assert one.subject and one.received and len(one.cure) > len("Expected: ."), one
    text = (site / "troubleshooting.html").read_text("utf-8")
    for told in ("no C2PA manifest in it", "It was never signed, or was encoded again since", "not four whole numbers"):
        assert told in text


def _raising(folder: str) -> int:
    """How often an error is made in a folder, but for those that only hand on another process's."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / folder).rglob("*.py"))
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    made = (call for call in calls if getattr(call.func, "id", "") in RAISE)
    return sum(not any(isinstance(arg, ast.Starred) for arg in call.args) for call in made)


def test_every_option_of_every_command_is_listed(site: Path) -> None:
    text = (site / "commands.html").read_text("utf-8")
    for told in ("--paste-back", "--perceptual-weights", "--strip-weights", "--max-waiting", "--fail-above", "--quick"):
        assert told in text


def test_a_default_of_zero_or_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    rows = import_module("pages.command_list").commands().splitlines()
    assert "| `--frame` | Which frame of a source that is a video, from 0. | `0` |" in rows
    assert "| `--loop` | How often the driver is shown. | `1` |" in rows
    assert "| `--paste-back` | Put the result back into the picture. |  |" in rows


def test_the_figure_is_drawn_of_what_the_model_computes(tmp_path: Path) -> None:
    """The script still runs with today's model, and names every letter."""
    place = tmp_path / "figure.svg"
    subprocess.run([sys.executable, ROOT / "docs/pages/figure.py", place], check=True, cwd=tmp_path)
    for figure in (place, ROOT / "docs/images/one-frame.svg"):
        text = re.sub(r"<[^>]*>", "", figure.read_text("utf-8"))
        for told in (
            "s source",
            "ms its mask",
            "d driving",
            "mdp perturbed",
            "mdr refined",
            "c coarse",
            "f final",
            "U(mdr)",
        ):
            assert told in text, told


def test_readme_links_to_files_and_places_that_are_there() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            path, _, anchor = link.partition("#")
            if path.startswith("http"):
                assert urlparse(path).scheme == "https"
                continue
            target = ROOT / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
                assert anchor in slugs, f"{page.name}: {link}"
