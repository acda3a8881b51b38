"""What is done with a form: open, alter, show, save, check, start; nothing is lost on the way."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.context import Context
from kohya_gui.forms import desk as module
from kohya_gui.forms.desk import Desk
from kohya_gui.forms.drafts import Draft
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from kohya_gui.reasons import failure
from kohya_gui.settings import Settings, save_settings
from sd_scripts.options.jobs import TrainDbJob, TrainingJob, TrainNetworkJob
from sd_scripts.options.toml_file import read_toml
from sd_scripts.runs.events import EndEvent, EventWriter, SaveEvent, StartEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import ProcessIdentity
from sd_scripts.runs.record import RunRecord, write_record
from tests.support.patience import eventually
from tests.support.tiny_models import make_tiny_checkpoint


@pytest.fixture
def desk(context: Context) -> Desk:
    return Desk(context, TrainNetworkJob)


@pytest.fixture
def ready(tmp_path: Path, pictures: Path) -> Draft:
    """A form with which a training could start."""
    model = make_tiny_checkpoint("sd1", tmp_path / "tiny.safetensors")
    values: dict[str, object] = {
        "pretrained_model_name_or_path": str(model),
        "train_data_dir": str(pictures),
        "caption_extension": ".txt",
        "output_name": "mycat",
        "learning_rate": "0.0001",
    }
    return Draft("train_network", values)


def acted(desk: Desk, what: str, draft: Draft, data: dict[str, object] | None = None) -> Any:
    """Act as soon as the looks at the files are done."""
    assert eventually(lambda: not desk.live.look(draft).working)
    return desk.act(what, data or {}, draft)


class Submissions:
    """Stands in for the queue: keeps what was submitted and answers as told."""

    def __init__(self, answer: Submitted | Queued | Refused) -> None:
        self.answer = answer
        self.requests: list[Any] = []

    def __call__(self, request: Any, when_busy: str) -> Submitted | Queued | Refused:
        self.requests.append((request, when_busy))
        return self.answer


def test_a_new_tab_begins_with_a_copy_of_the_last_form(desk: Desk) -> None:
    first = desk.begin({})
    desk.keep(first.draft_id, Draft("train_network", {"seed": "1"}))
    second = desk.begin({"last": first.draft_id})
    assert second.draft.values == {"seed": "1"}
    assert second.draft_id != first.draft_id
    desk.keep(second.draft_id, Draft("train_network", {"seed": "2"}))
    assert desk.begin({"draft": first.draft_id}).draft.values == {"seed": "1"}


def test_a_reload_keeps_the_form(desk: Desk) -> None:
    opened = desk.begin({})
    desk.keep(opened.draft_id, Draft("train_network", {"seed": "1"}, "a cat"))
    again = desk.begin({"draft": opened.draft_id, "last": "0" * 16})
    assert again.draft_id == opened.draft_id
    assert again.draft == Draft("train_network", {"seed": "1"}, "a cat")


def made_run(context: Context, config: str) -> RunFolder:
    run = RunFolder.create(context.workspace.runs, "mycat", config)
    ended = ProcessIdentity(pid=1, create_time=1.0, boot_id="of another time")
    write_record(run, RunRecord(name="mycat", job="train_network").with_process(ended))
    return run


@pytest.mark.parametrize("kind", [TrainNetworkJob, TrainDbJob])
def test_only_whole_models_are_shared_out(
    kind: type[TrainingJob], context: Context, ready: Draft
) -> None:
    shared = Processes(num_processes=2, sharing="weights")
    save_settings(context.workspace, Settings(processes=shared))
    shown = acted(Desk(context, kind), "show", Draft(kind.name, ready.values))
    assert ("--use_fsdp" in shown["command"]) is (kind is TrainDbJob)
    assert ("--multi_gpu" in shown["command"]) is (kind is TrainNetworkJob)


def test_settings_of_a_run_can_be_used_again(desk: Desk, context: Context) -> None:
    run = made_run(context, "seed = 7\n")
    config = f"seed = 7\noutput_dir = {str(run.output)!r}\nresume = '/old-state'\n"
    run.config.write_text(config)
    opened = desk.begin({"from": run.id})
    assert opened.draft.values == {"seed": "7"}
    assert "mycat" in opened.notice


def test_a_run_can_be_gone_on_with(desk: Desk, context: Context) -> None:
    run = made_run(context, "seed = 7\n")
    state = run.path / "output" / "mycat-000001-state"
    state.mkdir()
    with EventWriter(run.events) as events:
        events.emit(
            StartEvent(
                total_steps=9, num_epochs=1, num_images=1, family="sd1", trainable_parameters=1
            )
        )
        events.emit(SaveEvent(path=str(state), step=4, kind="state"))
    opened = desk.begin({"from": run.id, "resume": "1"})
    assert opened.draft.values.get("resume") == str(state)


def test_a_run_that_is_gone_leaves_an_empty_form_and_a_word(desk: Desk) -> None:
    opened = desk.begin({"from": "none-20260101-000000"})
    assert opened.draft.values == {}
    assert "none-20260101-000000" in opened.notice


def test_setting_and_resetting_single_options(desk: Desk) -> None:
    draft = Draft("train_network", {"seed": "1"})
    after, _, _ = desk.alter("set", {"values": {"vae": "/v.pt", "nonsense": 1}}, draft)
    assert after.values == {"seed": "1", "vae": "/v.pt"}
    back, _, _ = desk.alter("reset", {"option": "seed"}, after)
    assert back.values == {"vae": "/v.pt"}


def test_every_change_can_be_taken_back(desk: Desk) -> None:
    before = Draft("train_network", {"seed": "1"}, "a cat")
    undo = desk._context.drafts.new_id()
    desk.keep(undo, before)
    emptied, _, _ = desk.alter("clear", {}, before)
    assert emptied == Draft("train_network")
    assert desk.alter("revert", {"draft": undo}, emptied)[0] == before
    preset, notice, _ = desk.alter("preset", {"preset": next(iter(desk.presets))}, before)
    assert preset.values["network_dim"] == "16"
    assert notice


def test_what_will_run_is_shown_as_toml_and_command(desk: Desk, ready: Draft) -> None:
    shown = acted(desk, "show", Draft("train_network", ready.values, "a cat"))
    assert shown["state"] == "shown"
    changed, complete = tomllib.loads(shown["changed"]), tomllib.loads(shown["all"])
    assert changed["optimizer"] == {"learning_rate": 0.0001}
    assert complete["training"]["max_train_steps"] == 1600
    assert "sd_scripts.train_network" in shown["command"]
    assert shown["prompts"].strip() == "a cat"
    assert shown["file"] == "mycat.toml"


def test_showing_tells_everything_that_is_wrong(desk: Desk, ready: Draft) -> None:
    wrong = {**ready.values, "network_dim": "0", "learning_rate": "fast"}
    shown = acted(desk, "show", Draft("train_network", wrong))
    assert shown["state"] == "problems"
    named = {name for problem in shown["problems"] for name in problem["options"]}
    assert {"network_dim", "learning_rate"} <= named


def test_saving_never_replaces_a_file_unasked(desk: Desk, ready: Draft, context: Context) -> None:
    saved = acted(desk, "save", ready)
    assert saved["state"] == "saved"
    file = Path(saved["file"])
    assert file == context.workspace.path / "configs" / "mycat.toml"
    file.write_text("# mine\n")
    assert acted(desk, "save", ready)["state"] == "exists"
    assert file.read_text() == "# mine\n"
    assert acted(desk, "save", ready, {"name": "mycat", "replace": True})["state"] == "saved"
    draft, notice, problems = desk.alter("open_file", {"file": str(file)}, Draft("train_network"))
    assert draft == ready
    assert problems == ()
    assert "mycat.toml" in notice


def test_a_config_name_is_no_way_out_of_its_folder(
    desk: Desk, ready: Draft, context: Context
) -> None:
    saved = acted(desk, "save", ready, {"name": "../../escaped"})
    assert Path(saved["file"]).parent == context.workspace.path / "configs"


def test_starting_hands_the_complete_job_to_the_queue(
    desk: Desk, ready: Draft, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(context.workspace.runs / "mycat-1")
    queue = Submissions(Submitted(run, "started"))
    monkeypatch.setattr(context.queue, "submit", queue)
    result = acted(desk, "start", Draft("train_network", ready.values, "a cat"))
    assert (result["state"], result["run"]) == ("started", "mycat-1")
    request, when_busy = queue.requests[0]
    assert (request.name, when_busy) == ("mycat", "queue")
    config = tomllib.loads(request.config_toml)
    assert Path(config["preview"]["sample_prompts"]).read_text() == "a cat\n"
    assert config["optimizer"]["learning_rate"] == 0.0001


def test_a_job_can_be_queued_although_nothing_runs(
    desk: Desk, ready: Draft, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context.queue, "advance", list)
    result = acted(desk, "queue", ready)
    assert result["state"] == "queued"
    assert "“mycat” is number 1 in the queue" in result["text"]
    (waiting,) = context.queue.items()
    assert tomllib.loads(waiting.request.config_toml)["optimizer"]["learning_rate"] == 0.0001
    wrong = acted(desk, "queue", Draft("train_network", {**ready.values, "network_dim": "0"}))
    assert wrong["state"] == "problems"
    assert len(context.queue.items()) == 1


@pytest.mark.parametrize(
    "answer", [Queued("id", 1, "waits as number 1"), Refused("still running", ("run",))]
)
def test_a_second_start_is_told_in_words(
    desk: Desk,
    ready: Draft,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    answer: Queued | Refused,
) -> None:
    monkeypatch.setattr(context.queue, "submit", Submissions(answer))
    result = acted(desk, "start", ready)
    assert result["state"] == type(answer).__name__.lower()
    assert result["text"] == answer.text


def test_a_start_with_anything_wrong_starts_nothing(
    desk: Desk, ready: Draft, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Submissions(Queued("id", 1, ""))
    monkeypatch.setattr(context.queue, "submit", queue)
    wrong = {**ready.values, "vae": "/no/vae.pt"}
    result = acted(desk, "start", Draft("train_network", wrong))
    assert result["state"] == "problems"
    assert [problem["options"] for problem in result["problems"]] == [["vae"]]
    assert queue.requests == []


def test_a_check_gets_the_complete_job(
    desk: Desk, ready: Draft, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[str] = []

    def start(job: str, config: str) -> str:
        configs.append(config)
        return "0" * 16

    monkeypatch.setattr(context.checks, "start", start)
    assert acted(desk, "check", ready) == {"state": "checking", "check": "0" * 16}
    assert tomllib.loads(configs[0])["saving"]["output_name"] == "mycat"


def test_a_full_disk_is_told(desk: Desk, ready: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, data: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", refuse)
    result = acted(desk, "save", ready)
    assert result == {"state": "failed", "text": failure(OSError(28, ""))}


def edited(desk: Desk, context: Context, ready: Draft) -> tuple[str, Draft]:
    """Open a waiting job in the form, change its seed, and return its id and the draft."""
    context.queue.pause(True)
    _, job = context.queue.add([desk._request(ready), desk._request(ready)])
    opened = desk.begin({"queued": job.id})
    assert "keeps its place" in opened.notice
    assert opened.draft.values["output_name"] == "mycat"
    desk.keep(opened.draft_id, replace(opened.draft, values={**opened.draft.values, "seed": "5"}))
    assert desk.waiting_name(opened.draft_id) == "mycat"
    draft = desk.load(opened.draft_id)
    assert draft is not None
    return job.id, draft


def test_a_waiting_job_is_changed_in_its_form_and_keeps_its_place(
    desk: Desk, context: Context, ready: Draft
) -> None:
    acted(desk, "show", ready)
    job_id, draft = edited(desk, context, ready)
    assert desk.act("requeue", {}, draft) == {"state": "requeued"}
    assert [job.id for job in context.queue.items()][1] == job_id
    changed = context.queue.find(job_id)
    assert changed is not None
    assert read_toml(changed.request.config_toml)["seed"] == 5
    again = desk.act("requeue", {}, draft)
    assert again["state"] == "not_requeued"
    assert "Somebody else changed" in again["text"]


def test_a_change_to_a_job_that_has_begun_is_not_lost_and_told(
    desk: Desk, context: Context, ready: Draft
) -> None:
    acted(desk, "show", ready)
    job_id, draft = edited(desk, context, ready)
    context.queue.remove(job_id)
    answer = desk.act("requeue", {}, draft)
    assert answer["state"] == "not_requeued"
    assert "started or removed" in answer["text"]
    assert "waits no more" in desk.begin({"queued": job_id}).notice


@pytest.fixture
def past(context: Context, desk: Desk, ready: Draft) -> RunFolder:
    """A run that is over, with these settings, a trained file and a state."""
    acted(desk, "show", ready)
    request = desk._request(ready)
    run = RunFolder.create(context.workspace.runs, "mycat", request.config_toml)
    dead = {"pid": 4_000_000, "create_time": 1.0}
    record = RunRecord(format=2, name="mycat", job="train_network")
    write_record(run, record.model_copy(update=dead))
    file, state = run.output / "mycat-000010.safetensors", run.state / "step10"
    file.write_bytes(b"x")
    state.mkdir()
    with EventWriter(run.events) as events:
        events.emit(SaveEvent(path=str(file), step=10))
        events.emit(SaveEvent(path=str(state), step=10, kind="state"))
        events.emit(EndEvent(status="failed", reason="CUDA out of memory"))
    return run


def test_a_fork_begins_anew_with_a_saved_file(desk: Desk, past: RunFolder) -> None:
    file = str(past.output / "mycat-000010.safetensors")
    opened = desk.begin({"from": past.id, "fork": file})
    assert opened.draft.values["network_weights"] == file
    assert opened.draft.values["output_name"] == "mycat-from-10"
    assert "resume" not in opened.draft.values
    assert opened.draft.about == {"parent": past.id}
    desk.keep(opened.draft_id, opened.draft)
    draft = desk.load(opened.draft_id)
    assert draft is not None
    assert desk._request(draft).parent == past.id
    other = desk.begin({"from": past.id, "fork": "/etc/passwd"})
    assert "none that" in other.notice
    assert "network_weights" not in other.draft.values


def test_one_of_several_states_can_be_gone_on_from(desk: Desk, past: RunFolder) -> None:
    newer = past.state / "step20"
    newer.mkdir()
    with EventWriter(past.events) as events:
        events.emit(SaveEvent(path=str(newer), step=20, kind="state"))
        events.emit(EndEvent(status="stopped"))
    older = str(past.state / "step10")
    assert desk.begin({"from": past.id, "resume": older}).draft.values["resume"] == older
    assert desk.begin({"from": past.id, "resume": "1"}).draft.values["resume"] == str(newer)
    gone = desk.begin({"from": past.id, "resume": str(past.state / "step5")})
    assert "no such state" in gone.notice
    assert "resume" not in gone.draft.values
    shutil.rmtree(past.state)
    assert "no such state" in desk.begin({"from": past.id, "resume": "1"}).notice


def test_a_remedy_opens_the_settings_with_the_change_and_starts_nothing(
    desk: Desk, context: Context, past: RunFolder
) -> None:
    opened = desk.begin({"from": past.id, "remedy": "memory-cache_latents"})
    assert opened.draft.values["cache_latents"] is True
    assert "off → on" in opened.notice
    assert opened.draft.values["output_name"] == "mycat"
    assert opened.draft.values["resume"] == str(past.state / "step10")
    assert opened.draft.about == {"parent": past.id}
    assert "Goes on from the state “step10”" in opened.notice
    shutil.rmtree(past.state)
    without = desk.begin({"from": past.id, "remedy": "memory-cache_latents"})
    assert "resume" not in without.draft.values
    assert "no state was saved" in without.notice
    assert "does not fit" in desk.begin({"from": past.id, "remedy": "rate"}).notice
    assert len(context.store.list()) == 1
