"""Editing a metadata file: what is asked for changes, and not one other byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset.metadata_edit import FIELDS, Field, MetadataText
from sd_scripts.dataset.metadata_files import MetadataProblem

JSON, LINES = Path("meta.json"), Path("meta.jsonl")
WORDS = st.text(st.sampled_from('ab, é"\\\n{}:写'), max_size=8)
ENTRY = st.fixed_dictionaries(
    {}, optional={"tags": WORDS, "caption": WORDS | st.none(), "image_size": st.just([4, 4])}
)
ENTRIES = st.dictionaries(st.sampled_from(["a.png", "b/c.png", '"é".png']), ENTRY, min_size=1)


def test_the_file_keeps_its_own_looks() -> None:
    before = '\ufeff{ "a.png" : {"image_size": [4,4],\n\t"caption":"old", "caption": "last"} ,\r\n'
    before += ' "b": {}, "odd": 3, "c": { "tags" : null } }\n\n'
    wanted: dict[str, dict[Field, str]] = {
        "a.png": {"caption": "neu é", "tags": "x"},
        "b": {"tags": "y", "caption": "z"},
        "c": {"tags": "w"},
    }
    after = '\ufeff{ "a.png" : {"tags": "x", "image_size": [4,4],\n\t"caption":"old", '
    after += '"caption": "neu é"} ,\r\n "b": {"caption": "z", "tags": "y"}, "odd": 3, '
    after += '"c": { "tags" : "w" } }\n\n'
    text = MetadataText(JSON, before.encode())
    assert text.texts["a.png"] == {"caption": "last", "tags": ""}
    assert text.with_texts(wanted).decode() == after


def test_codes_stay_codes() -> None:
    text = MetadataText(JSON, b'{"a.png": {"caption": "caf\\u00e9"}}')
    changed = text.with_texts({"a.png": {"caption": "caf\u00e9 ol\u00e9"}})
    assert changed == b'{"a.png": {"caption": "caf\\u00e9 ol\\u00e9"}}'


def test_of_lines_the_first_about_a_picture_counts() -> None:
    lines = b'{"image_path": "a", "tags": "1"}\n\n[2]\n {"image_path": "a", "tags": "3"}\n'
    text = MetadataText(LINES, lines)
    assert text.texts["a"]["tags"] == "1"
    assert text.with_texts({"a": {"tags": "x"}}) == lines.replace(b'"1"', b'"x"')


@given(ENTRIES, st.data(), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_is_wanted_is_read_again_and_the_rest_stays(
    entries: dict[str, dict[str, object]], data: st.DataObject, indent: str | None, ascii_only: bool
) -> None:
    before = json.dumps(entries, indent=indent, ensure_ascii=ascii_only)
    text = MetadataText(JSON, before.encode())
    chosen = data.draw(st.sampled_from(sorted(entries)))
    fields = st.dictionaries(st.sampled_from(FIELDS), WORDS, min_size=1)
    changes = data.draw(fields)
    after = text.with_texts({chosen: changes})
    expected = {**entries, chosen: {**entries[chosen], **changes}}
    assert json.loads(after) == expected
    assert list(json.loads(after)) == list(entries)
    same = {field: str(entries[chosen].get(field) or "") for field in changes}
    back = MetadataText(JSON, after).with_texts({chosen: same})
    there = all(isinstance(entries[chosen].get(field), str) for field in changes)
    # Once the last code is gone, nothing tells that letters were written as codes.
    if there and (not ascii_only or "\\u" in after.decode() or "\\u" not in before):
        assert back.decode() == before
    again = [{"image_path": key, **entry} for key, entry in entries.items()]
    lines = "\n".join(json.dumps(one, ensure_ascii=ascii_only) for one in again)
    changed = MetadataText(LINES, lines.encode()).with_texts({chosen: changes})
    wanted = [{"image_path": key, **entry} for key, entry in expected.items()]
    assert [json.loads(line) for line in changed.decode().split("\n")] == wanted


@pytest.mark.parametrize("data", [b"\xff{", b"[1]", b"{", b'{"a": {}} x', b"[" * 100_000])
def test_what_is_no_metadata_file_is_refused(data: bytes) -> None:
    with pytest.raises(MetadataProblem):
        MetadataText(JSON, data)
