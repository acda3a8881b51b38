"""What is written of a run, files and states, and how a run goes on from a state."""

from __future__ import annotations

import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.state import PartialState

from sd_scripts.dataset.index import cache_folder
from sd_scripts.errors import Problem, UserError
from sd_scripts.families.base import LoadedModel
from sd_scripts.files import companion
from sd_scripts.methods.base import Method
from sd_scripts.methods.packing import forms_of
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.train.ema import weights_to_use
from sd_scripts.train.guard import all_finite, broken_weights
from sd_scripts.train.optimizers import describe_optimizer
from sd_scripts.train.preflight import Preflight
from sd_scripts.train.state_facts import (
    Position,
    Stamp,
    StateFacts,
    find_state,
    read_facts,
    stamp_of,
)
from sd_scripts.train.states import (
    Resumable,
    apply_changed_arguments,
    apply_changed_rates,
    load_state,
    save_state,
    settings_of,
)
from sd_scripts.weights.dataset_facts import facts_from_plan
from sd_scripts.weights.files import read_metadata
from sd_scripts.weights.hashes import BaseHashes
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts
from sd_scripts.weights.model_spec import thumbnail_url


class Recorder:
    """Writes the files and states of one run, which share a session id with what resumes it."""

    def __init__(
        self,
        job: TrainingJob,
        checked: Preflight,
        model: LoadedModel,
        method: Method,
        parts: Resumable,
        saved_dtype: torch.dtype | None,
    ) -> None:
        """Nothing is written yet; `saved_dtype` None keeps each tensor's own.

        Raises `UserError` if the thumbnail cannot be read.
        """
        # Read now: a thumbnail that is gone at the end must not cost what was trained.
        thumbnail = thumbnail_url(job.metadata.metadata_thumbnail)
        metadata = job.metadata.model_copy(update={"metadata_thumbnail": thumbnail})
        self._job = job.model_copy(update={"metadata": metadata})
        self._plan = checked.plan.fingerprint()
        self._method = method
        self._packing = forms_of([model.unet, *model.text_encoders])
        self._parts = parts
        self._saved_dtype = saved_dtype
        self._session = secrets.randbits(32)
        self._rates: tuple[float | None, ...] = tuple(
            None if group["lr"] is None else float(group.get("initial_lr", group["lr"]))
            for group in parts.optimizer.param_groups
        )
        self.position = Position()
        self._resumed_step = 0
        self._files: dict[str, Stamp] = {}
        folder = cache_folder(job.data.cache_dir)
        self._base = BaseHashes(job.model.pretrained_model_name_or_path, job.model.vae, folder)
        self._facts = self._training_facts(checked, model)

    def _training_facts(self, checked: Preflight, model: LoadedModel) -> TrainingFacts:
        job = self._job
        dataset = facts_from_plan(
            checked.plan, from_dataset_config=job.data.dataset_config is not None
        )
        assert job.training.seed is not None
        return TrainingFacts(
            family=model.family.name,
            base_model_version=model.family.base_model_version,
            prediction_type=model.prediction_type,
            dataset=dataset,
            num_epochs=checked.arithmetic.num_epochs,
            num_steps=checked.arithmetic.total_steps,
            total_batch_size=job.data.train_batch_size
            * PartialState().num_processes
            * job.training.gradient_accumulation_steps,
            optimizer=describe_optimizer(self._parts.optimizer, job),
            seed=job.training.seed,
            session_id=self._session,
            started_at=time.time(),
            zero_terminal_snr=model.zero_terminal_snr,
        )

    def hash_base_in_background(self) -> None:
        """Begin to hash the base model's file for the metadata; does nothing the second time."""
        self._base.start()

    def close(self) -> None:
        """Give up what is still being hashed."""
        self._base.cancel()

    def write_weights(self, path: Path, step: int, epoch: int, *, final: bool) -> None:
        """Write the trained network. The hash of a large base file is waited for at the end only.

        Raises `OSError` if it cannot be written, and `UserError` if the weights are no numbers
        any more: a good file is never replaced by a broken one.
        """
        base = self._base.entries(wait=final)
        save = SaveFacts(step, epoch, time.time(), base)
        metadata = self._method.file_metadata(self._job, self._facts, save)
        if self._parts.ema is not None and not self._job.metadata.no_metadata:
            decay = self._job.training.ema_decay
            metadata = {**metadata, "ss_use_ema": "True", "ss_ema_decay": str(decay)}
        with self._usable_weights():
            if not all_finite(self._parts.weights.state_dict().values()):
                raise broken_weights(step)
            self._method.save(path, metadata, self._saved_dtype)
        beside = (companion(path, suffix) for suffix in self._job.companions)
        self._files |= {str(file.absolute()): stamp_of(file) for file in (path, *beside)}

    def _usable_weights(self) -> AbstractContextManager[None]:
        if self._parts.lending is not None:
            return self._parts.lending.weights()
        return weights_to_use(self._parts.optimizer, self._parts.ema)

    def write_state(self, path: Path) -> None:
        """Write everything a later run needs to go on from here. Raises `OSError`."""
        position = self.position
        assert self._job.training.seed is not None
        facts = StateFacts(
            current_step=position.step,
            current_epoch=position.epoch,
            batch_in_epoch=position.batch,
            seed=self._job.training.seed,
            plan=self._plan,
            session=str(self._session),
            rates=self._rates,
            optimizer=self._job.optimizer.optimizer_type,
            optimizer_args=self._job.optimizer.optimizer_args,
            files=tuple(item for item in self._files.items() if _is_there(*item)),
            num_processes=PartialState().num_processes,
            sharded=self._parts.lending is not None,
            packing=self._packing,
        )
        lending = self._parts.lending
        with lending.state() if lending is not None else nullcontext():
            save_state(path, self._parts, facts)

    def is_ours(self, path: Path) -> bool:
        """Tell whether a file or state was written before the state that this run resumes.

        What another way on from that state has written since is not ours to replace.
        """
        known = self._files.get(str(path.absolute()))
        if known is not None and _is_there(str(path), known):
            return True
        try:
            if path.is_dir():
                facts = read_facts(path)
                session, step = facts.session, facts.current_step
            else:
                metadata = read_metadata(path)
                session, step = metadata["ss_session_id"], int(metadata["ss_steps"])
        except (UserError, OSError, KeyError, ValueError):
            return False  # no file of ours is broken, or without these facts
        return session == str(self._session) and step <= self._resumed_step

    def resume(self, path: Path) -> list[Problem]:
        """Go on from a state: weights, optimizer, schedule, random streams and position.

        Returns what the user should know. Raises `UserError` if the state does not fit.
        """
        folder = find_state(path)
        facts = read_facts(folder)
        optimizer = self._parts.optimizer
        fresh = settings_of(optimizer)
        told = load_state(folder, self._parts)
        self.position = Position(facts.current_step, facts.current_epoch, facts.batch_in_epoch)
        self._resumed_step = facts.current_step
        self._files = dict(facts.files)
        self._session = int(facts.session)
        self._facts = replace(self._facts, session_id=self._session)
        told += apply_changed_rates(self._parts, facts.rates, self._rates)
        arguments = self._job.optimizer.optimizer_args
        told += apply_changed_arguments(optimizer, fresh, facts.optimizer_args, arguments)
        if facts.plan != self._plan:
            told.append(
                Problem(
                    "The pictures, repeats or batches have changed since this state was saved",
                    "resume, train_data_dir",
                    "Training goes on with the new ones, from the same step.",
                    "warning",
                )
            )
        if facts.seed != self._job.training.seed:
            told.append(
                Problem(
                    f"This state was trained with the seed {facts.seed}; another one is used now",
                    "seed, resume",
                    f"Set seed to {facts.seed} to go on exactly as without a break.",
                    "warning",
                )
            )
        return told


def _is_there(path: str, stamp: Stamp) -> bool:
    """Tell whether a file or folder is still the one that has this stamp."""
    try:
        return stamp_of(Path(path)) == stamp
    except OSError:
        return False
