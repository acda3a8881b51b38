"""Values of captioning jobs that do not agree: a rule, the job, the values, the options named."""

from __future__ import annotations

from collections.abc import Mapping

from sd_scripts.options.jobs import Job, MakeCaptionsJob, TagImagesJob

CAPTIONING_CASES: list[tuple[str, type[Job], Mapping[str, object], str]] = [
    (
        "tags_added_or_left",
        TagImagesJob,
        {"only_missing": True, "append_tags": True},
        "only_missing, append_tags",
    ),
    (
        "captions_added_or_left",
        MakeCaptionsJob,
        {"only_missing": True, "append_captions": True},
        "only_missing, append_captions",
    ),
    (
        "in_front_or_at_the_end",
        TagImagesJob,
        {"use_rating_tags": True, "use_rating_tags_as_last_tag": True},
        "use_rating_tags, use_rating_tags_as_last_tag",
    ),
    (
        "in_front_or_at_the_end",
        TagImagesJob,
        {"use_quality_tags": True, "use_quality_tags_as_last_tag": True},
        "use_quality_tags, use_quality_tags_as_last_tag",
    ),
    (
        "shortest_below_longest",
        MakeCaptionsJob,
        {"min_length": 9, "max_length": 8},
        "min_length, max_length",
    ),
    ("download_needs_a_name", TagImagesJob, {"force_download": True}, "force_download, repo_id"),
]
