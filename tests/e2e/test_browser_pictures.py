"""The pictures page in a real browser: open, caption, change many after a preview, undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from kohya_gui.settings import Settings, save_settings
from kohya_gui.workspace import open_workspace
from tests.support.pages import PATIENCE_MS, Gui, Watched, running_gui
from tests.support.patience import eventually

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

NASTY = "<img src=x onerror=alert(1)>\n.png"
BROKEN = """async () => {
  const said = document.createElement("div");
  const arrived = [];
  const gone = new File(["x"], "gone.png");
  gone.slice = () => null;
  const [lost, words, good] = ["lost.png", "lost.txt", "good.png"].map((n) => new File(["x"], n));
  const files = [lost, words, gone, good];
  const ask = async ({ name }) => {
    if (name === "lost.png") throw new TypeError("Failed to fetch");
    arrived.push(name);
    return { stem: "good" };
  };
  const given = { files: files.map((file) => ({ file, place: 0 })), refused: [] };
  await window.KG.uploads.send(given, ask, () => {}, said);
  return `${said.textContent} [${arrived}]`;
}"""
"""What a page says of files that are lost on their way or cannot be read, and what arrives."""


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    folder = tmp_path_factory.mktemp("pictures")
    workspace = open_workspace(folder / "work")
    save_settings(workspace, Settings(roots=(str(folder / "files"),)))
    with running_gui(workspace.path) as served:
        yield served


@pytest.fixture
def files(gui: Gui, request: pytest.FixtureRequest) -> Path:
    folder = gui.workspace.parent / "files" / request.node.name
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (96, 64), (80 * number, 90, 120)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_bytes(f"cat, red, number {number}\r\n".encode())
    return folder


def open_folder(page: Page, gui: Gui, folder: Path) -> Locator:
    # By its address: the folder of the test before is not opened first.
    page.goto(gui.page(f"pictures?folder={quote(str(folder))}"))
    return page.locator(".kg-tile")


def test_a_caption_is_written_with_keys_alone_and_undone(
    watched: Watched, gui: Gui, files: Path
) -> None:
    page = watched.page
    tiles = open_folder(page, gui, files)
    expect(tiles.locator("img")).to_have_count(3)
    page.locator(".kg-tiles").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    caption = page.locator("textarea.kg-caption")
    expect(caption).to_have_value("cat, red, number 1")
    expect(page.locator(".kg-editor")).to_contain_text("96 × 64 · trained at 640 × 384")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type(", sitting")
    expect(page.locator(".kg-chips .kg-chip")).to_have_count(4)
    page.keyboard.press("Control+Enter")
    expect(caption).to_have_value("cat, red, number 2")
    assert (files / "1.txt").read_bytes() == b"cat, red, number 1, sitting\r\n"
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    assert eventually(lambda: (files / "1.txt").read_bytes() == b"cat, red, number 1\r\n")
    expect(tiles.nth(1)).not_to_contain_text("sitting")


def test_a_folder_that_is_dropped_is_copied_and_opened(
    watched: Watched, gui: Gui, files: Path
) -> None:
    (files / "inside").mkdir()
    (files / "notes.pdf").write_bytes(b"no picture")
    (files / ".DS_Store").write_bytes(b"of the system")
    other = files.parent / "other"
    other.mkdir()
    (other / "0.png").write_bytes((files / "1.png").read_bytes())
    (other / "0.txt").write_bytes(b"another cat")
    (files / "1.txt").unlink()
    (other / "1.txt").write_bytes(b"a caption without its picture")
    page = watched.page
    page.goto(gui.page("pictures"))
    page.wait_for_function("document.documentElement.dataset.kgReady === 'dataset'")
    box = page.locator(".kg-dataset-choice").bounding_box()
    assert box is not None
    at = {"x": box["x"] + 40, "y": box["y"] + 12}
    data = {"items": [], "files": [str(files), str(other)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})
    told = page.locator(".kg-dataset-choice [role=alert]")
    expect(told).to_contain_text("inside")
    expect(told).to_contain_text("notes.pdf is neither a picture nor a caption")
    expect(told).to_contain_text("1.txt: It was not copied: no picture of this name lies beside it")
    (made,) = (gui.workspace / "pictures").glob(f"{files.name[:40]}-*")
    expect(page.locator("#kg-dataset-path")).to_have_value(str(made))
    tiles = page.locator(".kg-tile")
    expect(tiles).to_have_count(4)
    expect(told).not_to_contain_text("DS_Store")
    assert (made / "0.txt").read_bytes() == (files / "0.txt").read_bytes()
    assert (made / "0-2.txt").read_bytes() == b"another cat"
    assert not (made / "1.txt").exists()
    assert (made / "0-2.png").read_bytes() == (files / "1.png").read_bytes()
    assert len(list(made.iterdir())) == 7
    assert len(list(files.iterdir())) == 8
    page.set_input_files(".kg-upload-file", files / "1.png")
    expect(tiles).to_have_count(1)
    said = page.evaluate(BROKEN)
    assert "lost.png: The program does not answer." in said
    assert "lost.txt: It was not copied, as its picture was not." in said
    assert "gone.png: It could not be read." in said
    assert "[good.png]" in said


def test_many_captions_are_changed_after_a_preview_and_undone(
    watched: Watched, gui: Gui, files: Path
) -> None:
    page = watched.page
    tiles = open_folder(page, gui, files)
    expect(tiles).to_have_count(3)
    page.click("[data-part=tags]")
    page.locator(".kg-tag-list li", has_text="red").get_by_text("rename").click()
    page.fill("[data-field=new]", "<b>blue</b>")
    page.click("text=Show what would change")
    expect(page.locator(".kg-preview ins").first).to_have_text("<b>blue</b>")
    assert (files / "0.txt").read_bytes() == b"cat, red, number 0\r\n"
    page.click("[data-act=write]")
    expect(page.locator(".kg-dataset-bar .kg-note")).to_contain_text("3 captions were written")
    assert (files / "2.txt").read_bytes() == b"cat, <b>blue</b>, number 2\r\n"
    expect(tiles.first).to_contain_text("cat, <b>blue</b>")
    page.click("[data-act=undo]")
    expect(tiles.first).to_contain_text("cat, red")
    assert (files / "2.txt").read_bytes() == b"cat, red, number 2\r\n"
    page.click(".kg-look summary")
    page.click("[data-act=forget]")
    expect(page.locator("dialog[open]")).to_contain_text("kept for undo and redo: 1,")
    page.click("dialog .kg-danger")
    expect(page.locator(".kg-dataset-bar .kg-note")).to_contain_text("Changes cleared: 1")
    expect(page.locator("[data-act=redo]")).to_be_disabled()


def test_words_in_a_metadata_file_are_edited_there(watched: Watched, gui: Gui, files: Path) -> None:
    for number in range(3):
        (files / f"{number}.txt").unlink()
    metadata = files / "meta.jsonl"
    metadata.write_text('{"image_path": "1.png", "caption": "a red cat", "tags": ""}\n')
    page = watched.page
    tiles = open_folder(page, gui, files)
    expect(tiles.nth(1)).to_contain_text("a red cat")
    tiles.nth(0).click()
    expect(page.locator(".kg-editor")).to_contain_text("does not name this picture")
    tiles.nth(1).click()
    caption = page.locator("textarea.kg-caption")
    expect(caption).to_have_value("a red cat")
    caption.fill("a blue cat")
    caption.press("Control+s")
    wanted = '{"image_path": "1.png", "caption": "a blue cat", "tags": ""}\n'
    assert eventually(lambda: metadata.read_text() == wanted)


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(
    watched: Watched, gui: Gui, files: Path
) -> None:
    page = watched.page
    open_folder(page, gui, files).first.click()
    caption = page.locator("textarea.kg-caption")
    expect(caption).to_have_value("cat, red, number 0")
    caption.focus()
    (files / "0.txt").write_text("theirs")
    caption.fill("mine")
    expect(page.locator(".kg-editor [role=alert]")).to_contain_text("theirs")
    assert (files / "0.txt").read_text() == "theirs"
    page.click("[data-act=mine]")
    assert eventually(lambda: (files / "0.txt").read_text().strip() == "mine")


def test_a_text_that_could_not_be_written_is_told_when_one_moves_on(
    watched: Watched, gui: Gui, files: Path
) -> None:
    page = watched.page
    open_folder(page, gui, files).first.click()
    caption = page.locator("textarea.kg-caption")
    expect(caption).to_have_value("cat, red, number 0")
    (files / "0.txt").write_text("theirs")
    caption.fill("my words")
    page.keyboard.press("Control+Enter")
    expect(caption).to_have_value("cat, red, number 1")
    expect(page.locator(".kg-dataset-bar .kg-note")).to_contain_text("my words")
    assert (files / "0.txt").read_text() == "theirs"


def test_bad_folders_and_names_are_told_in_words(watched: Watched, gui: Gui, files: Path) -> None:
    page = watched.page
    Image.new("RGB", (64, 64)).save(files / NASTY, "PNG")
    (files / "0.png").write_bytes(b"no picture")
    (files / "empty").mkdir()
    tiles = open_folder(page, gui, files)
    expect(tiles).to_have_count(4)
    expect(page.locator(".kg-tile-name", has_text="onerror=alert(1)")).to_be_visible()
    expect(tiles.first).to_contain_text("cannot be shown")
    for folder, words in ((files / "no such", "is not there"), (files / "empty", "no pictures")):
        page.fill("#kg-dataset-path", str(folder))
        page.keyboard.press("Enter")
        expect(page.locator("#kg-main [role=alert]")).to_contain_text(words)
    page.fill("#kg-dataset-path", "/etc")
    page.keyboard.press("Enter")
    expect(page.locator("#kg-main [role=alert]")).to_contain_text("may look into")
