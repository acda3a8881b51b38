"""What a folder holds."""

from __future__ import annotations

from sd_scripts.dataset.listing import list_folder, same_but_for_case, same_stem
from sd_scripts.dataset.words import some
from tests.dataset.zoo import put


def test_pictures_texts_folders_and_the_rest(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.Jpeg", "d.webp", "e.bmp", "f.avif"):
        put(tmp_path, name)
    for name in (".hidden.png", "._a.jpg", "Thumbs.db", "desktop.ini", "a.TXT", "b.txt", "x.heic"):
        put(tmp_path, name, b"x")
    (tmp_path / "sub.png").mkdir()
    listing = list_folder(tmp_path)
    assert listing.pictures == ("a.jpg", "b.PNG", "c.Jpeg", "d.webp", "e.bmp", "f.avif")
    assert listing.folders == ("sub.png",)
    assert listing.unreadable == ("x.heic",)
    assert listing.text_file(["a.txt"]) == "a.TXT"
    assert listing.text_file(["b.caption", "b.txt"]) == "b.txt"
    assert listing.text_file(["B.txt"]) is None


def test_the_text_with_the_plain_extension_wins(tmp_path):
    put(tmp_path, "a.TXT", b"x")
    put(tmp_path, "a.txt", b"x")
    assert list_folder(tmp_path).text_file(["a.txt"]) == "a.txt"


def test_groups_of_names():
    names = ["a.png", "A.png", "b.png", "b.jpg", "c.png"]
    assert list(same_but_for_case(names)) == [("a.png", "A.png")]
    assert list(same_stem(names)) == [("b.png", "b.jpg")]


def test_long_lists_of_names_are_cut():
    assert some(["a", "b"]) == "a, b"
    assert some([str(number) for number in range(20)], limit=3) == "0, 1, 2 and 17 more"
