"""Options of the jobs that write captions: taggers and captioners."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.tag_replacement import check_replacements
from sd_scripts.options.types import Ending, PathText, UnfitError

Device = Literal["cpu", "cuda", "directml", "mps", "xpu"]
Threshold = Annotated[float | None, Field(ge=0, le=2)]


def _metadata_name(path: str) -> str:
    if not path.lower().endswith((".json", ".jsonl")):
        raise UnfitError(
            f"{path!r} ends neither in .json nor in .jsonl", "give for example tags.json"
        )
    return path


class PictureFolderOptions(Options):
    """The pictures that get captions."""

    title: ClassVar[str] = "Pictures"

    train_data_dir: Annotated[
        PathText,
        Field(min_length=1),
        Opt("Pictures", tier="basic", path="folder", keywords=("images", "folder", "image_dir")),
    ]
    """Folder of the pictures. They are only read; captions are written beside them."""

    recursive: Annotated[bool, Opt("Folders inside too", tier="basic")] = False
    """Also takes the pictures of all folders inside. Links that lead out of the folder are left
    alone."""

    large_pictures: Annotated[
        Literal["refuse", "scale"],
        Opt("Very large pictures", keywords=("megapixels", "memory", "bomb")),
    ] = "refuse"
    """What becomes of pictures with more than 178 million pixels. refuse: they are left out and
    named. scale: JPEG files are made smaller while they are decoded, so that they need little
    memory; other kinds are left out all the same."""


class CaptionFileOptions(Options):
    """Where captions are written, and what becomes of those that are there."""

    title: ClassVar[str] = "Caption files"

    caption_extension: Annotated[
        Ending,
        Field(min_length=1, max_length=40),
        Opt("Caption files end in", tier="basic", old_names=("caption_extention",)),
    ] = ".caption"
    """Ending of the caption file that is written beside each picture under the same name; usual are
    .txt and .caption. Choose the same when you train."""

    only_missing: Annotated[
        bool, Opt("Only pictures without a caption", tier="basic", keywords=("skip",))
    ] = False
    """Leaves pictures alone that have a caption already. Otherwise it is written anew; what was
    there before is kept in the run's folder and can be put back."""

    output_path: Annotated[
        PathText | None,
        AfterValidator(lambda path: None if path is None else _metadata_name(path)),
        Opt("One file for all", path="file", keywords=("json", "jsonl", "metadata")),
    ] = None
    """Writes everything into one .json or .jsonl file, as fine-tuning from a metadata file reads
    it, in place of a caption file beside each picture. Other entries of the file are kept."""


class TagFileOptions(CaptionFileOptions):
    """Where tags are written."""

    caption_extension: Annotated[
        Ending,
        Field(min_length=1, max_length=40),
        Opt("Caption files end in", tier="basic", old_names=("caption_extention",)),
    ] = ".txt"
    """Ending of the caption file that is written beside each picture under the same name; usual are
    .txt and .caption. Choose the same when you train."""

    append_tags: Annotated[bool, Opt("Add to the tags that are there", tier="basic")] = False
    """Keeps the tags that are there and adds the new ones behind them, each once."""


class SentenceFileOptions(CaptionFileOptions):
    """Where captions are written."""

    append_captions: Annotated[bool, Opt("Add to the captions that are there", tier="basic")] = (
        False
    )
    """Keeps the captions that are there and adds the new one as a further line. Training takes a
    random line with enable_wildcard, else the first."""

    prefix: Annotated[
        str | None, Field(min_length=1), Opt("Text before each caption", keywords=("trigger",))
    ] = None
    """Put before every caption exactly as it stands here, so end it with a blank or a comma."""

    postfix: Annotated[str | None, Field(min_length=1), Opt("Text after each caption")] = None
    """Put after every caption exactly as it stands here."""


class RunningOptions(Options):
    """Where a model is run, and how pictures get to it."""

    title: ClassVar[str] = "Speed"

    max_data_loader_n_workers: Annotated[
        int | None, Field(ge=0, le=256), Opt("Reading threads", keywords=("workers",))
    ] = None
    """How many threads read and prepare pictures while the model works. Empty: what this machine
    has cores for, at most 8. 0: nothing is prepared ahead. The result is the same for any
    number."""

    device: Annotated[Device | None, Opt("Run on", keywords=("gpu", "provider"))] = None
    """What the model runs on. Empty: the best there is, a graphics card before the CPU. directml
    is for taggers on Windows."""

    debug: Annotated[bool, Opt("Write results to the log", tier="expert")] = False
    """Also writes what was found for each picture to the log."""


class InferenceOptions(RunningOptions):
    """How a model is run that takes several pictures together."""

    batch_size: Annotated[
        int, Field(ge=1, le=4096), Opt("Batch size", tier="basic", unit="pictures")
    ] = 1
    """How many pictures the model looks at together. On a graphics card 4 to 16 is faster and needs
    more memory; on a CPU it changes little."""


class TaggerOptions(Options):
    """The model that finds tags."""

    title: ClassVar[str] = "Tagger"

    model_dir: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Tagger folder", tier="basic", path="folder", keywords=("model", "wd14")),
    ] = None
    """Folder of a WD14 tagger (model.onnx with selected_tags.csv) or of one with tag_mapping.json,
    or the folder in which such folders lie, named as in repo_id. Empty: wd14_tagger_model if
    repo_id is set, else the small tagger that comes with this program."""

    repo_id: Annotated[
        str | None,
        Field(min_length=3, max_length=200, pattern=r"^\w[\w.-]*(/\w[\w.-]*)+$"),
        Opt("Tagger on the hub", keywords=("model", "wd14")),
    ] = None
    """Name of a tagger on the Hugging Face hub, such as SmilingWolf/wd-vit-tagger-v3. It is looked
    for in model_dir, in a folder of that name with _ in place of /. It is only downloaded with
    force_download."""

    force_download: Annotated[
        bool, Opt("Download the tagger", applies=Applies(when=(("repo_id", ()),)))
    ] = False
    """Downloads the tagger named by repo_id into model_dir, even if it is there. Everything else
    works without a network."""

    onnx: Annotated[bool, Opt("ONNX model", tier="expert")] = False
    """Asks for the ONNX model. It is the only kind that is used here, so this is always so."""


class TagOptions(Options):
    """Which tags are written, and how."""

    title: ClassVar[str] = "Tags"

    thresh: Annotated[
        float,
        Field(ge=0, le=2),
        Opt(
            "Threshold",
            typical="0.35; up to 0.75 where wrong tags do harm",
            tier="basic",
            step=0.05,
            keywords=("score",),
        ),
    ] = 0.35
    """How sure the tagger has to be of a tag, 0 to 1. Lower gives more tags and more wrong ones."""

    general_threshold: Annotated[Threshold, Opt("Threshold: general", step=0.05)] = None
    """The threshold for general tags. Empty: thresh. Above 1: none."""

    character_threshold: Annotated[Threshold, Opt("Threshold: characters", step=0.05)] = None
    """The threshold for names of characters. Empty: thresh. Above 1: none."""

    copyright_threshold: Annotated[
        Threshold, Opt("Threshold: copyright", tier="expert", step=0.05)
    ] = None
    """The threshold for names of series, where the tagger knows them. Empty: thresh. Above 1:
    none."""

    artist_threshold: Annotated[Threshold, Opt("Threshold: artists", tier="expert", step=0.05)] = (
        None
    )
    """The threshold for names of artists, where the tagger knows them. Empty: thresh. Above 1:
    none."""

    meta_threshold: Annotated[Threshold, Opt("Threshold: meta", tier="expert", step=0.05)] = None
    """The threshold for tags about the file, where the tagger knows them. Empty: thresh. Above 1:
    none."""

    model_threshold: Annotated[Threshold, Opt("Threshold: models", tier="expert", step=0.05)] = None
    """The threshold for names of image generators, where the tagger knows them. Empty: thresh.
    Above 1: none."""

    tag_order: Annotated[Literal["list", "score"] | None, Opt("Order of tags")] = None
    """list: as in the tagger's list of tags. score: the surest first. Empty: list for taggers with
    selected_tags.csv, score for those with tag_mapping.json."""

    character_tags_first: Annotated[bool, Opt("Characters first")] = False
    """Puts names of characters before all other tags."""

    always_first_tags: Annotated[str | None, Field(min_length=1), Opt("Tags in front")] = None
    """Tags that are moved to the front where they are found, for example 1girl,1boy. One after the
    other is moved, so the last one named comes first."""

    use_rating_tags: Annotated[bool, Opt("Rating in front")] = False
    """Puts the rating (general, sensitive, …) before the tags."""

    use_rating_tags_as_last_tag: Annotated[bool, Opt("Rating at the end", tier="expert")] = False
    """Puts the rating behind the tags."""

    use_quality_tags: Annotated[bool, Opt("Quality in front", tier="expert")] = False
    """Puts the quality before the tags, where the tagger tells one."""

    use_quality_tags_as_last_tag: Annotated[bool, Opt("Quality at the end", tier="expert")] = False
    """Puts the quality behind the tags, where the tagger tells one."""

    remove_underscore: Annotated[bool, Opt("Blanks for underscores", tier="basic")] = False
    """Writes long hair in place of long_hair. Tags of up to three letters such as ^_^ stay."""

    character_tag_expand: Annotated[bool, Opt("Series as a tag of its own")] = False
    """Makes two tags of a character with its series: name_(series) becomes name, series."""

    undesired_tags: Annotated[str, Field(), Opt("Unwanted tags", tier="basic")] = ""
    """Tags that are never written, as they would be written, with the separator between them."""

    tag_replacement: Annotated[
        Annotated[str, Field(min_length=1), AfterValidator(check_replacements)] | None,
        Opt("Replace tags", keywords=("rename",)),
    ] = None
    r"""Pairs old,new;old,new. The old tag may be given with underscores or as it would be written.
    A comma or semicolon inside a tag gets a backslash before it. Nothing after the comma takes the
    tag away."""

    caption_separator: Annotated[
        str, Field(min_length=1, max_length=40), Opt("Tag separator", tier="expert")
    ] = ", "
    """What is written between the tags of a caption."""

    frequency_tags: Annotated[bool, Opt("Table of tags")] = False
    """Writes at the end how often each tag was found, to the log and to tag_frequency.csv in the
    run's output folder."""


class CaptionerOptions(Options):
    """The model that writes sentences."""

    title: ClassVar[str] = "Captioner"

    caption_weights: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Captioner folder", tier="basic", path="folder", keywords=("model", "blip")),
    ] = None
    """Folder of a captioner in transformers' layout: BLIP, BLIP-2, GIT, Florence-2 or Qwen-VL.
    Empty: the small BLIP that comes with this program."""

    caption_prompt: Annotated[str | None, Field(min_length=1), Opt("Prompt")] = None
    """What the captioner is asked. BLIP goes on writing from these words; Florence-2 takes
    <CAPTION>, <DETAILED_CAPTION> or <MORE_DETAILED_CAPTION>; Qwen-VL takes any question. Empty: a
    plain description."""

    precision: Annotated[Literal["float", "fp16", "bf16"] | None, Opt("Precision")] = None
    """What the captioner computes in; fp16 and bf16 take half the memory of float. Empty: fp16 on a
    graphics card, float on a CPU."""


class WordingOptions(Options):
    """How sentences are made."""

    title: ClassVar[str] = "Wording"

    beam_search: Annotated[bool, Opt("Beam search", tier="basic", keywords=("beam",))] = False
    """Takes the likeliest sentence of num_beams instead of drawing words at random: the same
    caption each time, and a plainer one."""

    num_beams: Annotated[
        int,
        Field(ge=1, le=64),
        Opt("Number of beams", applies=Applies(when=(("beam_search", (True,)),))),
    ] = 1
    """How many sentences are followed at a time with beam_search. Usual: 3 to 5. More takes longer
    and more memory."""

    top_p: Annotated[
        float,
        Field(gt=0, le=1),
        Opt("Top p", step=0.05, applies=Applies(when=(("beam_search", (False,)),))),
    ] = 0.9
    """Draws words only among the likeliest that together have this probability. Lower is plainer,
    1 takes all words."""

    max_length: Annotated[int, Field(ge=1, le=4096), Opt("Longest caption", unit="tokens")] = 75
    """Most tokens a caption may have."""

    min_length: Annotated[int, Field(ge=0, le=4096), Opt("Shortest caption", unit="tokens")] = 5
    """Fewest tokens a caption may have."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1), Opt("Seed", keywords=("random",))] = 42
    """Decides what is drawn at random without beam_search: the same seed, pictures and batch size
    give the same captions."""
