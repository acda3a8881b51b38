"""The options of sd-scripts (0.10.1) for SD 1.x, SD 2.x and SDXL: names, and which scripts know
each. Facts to agree with; what becomes of each here is worked out in `compatibility`.

Letters: N train_network, X sdxl_train_network, D train_db, F fine_tune, S sdxl_train, T
train_textual_inversion, A all of them (X: also what only SDXL's scripts know).
"""

from __future__ import annotations

from typing import Final

_SECTIONS: Final[dict[str, str]] = {
    "Configuration and logs": """
        A: config_file output_config dataset_config console_log_level console_log_file
        console_log_simple logging_dir log_with log_prefix log_tracker_name wandb_run_name
        log_tracker_config wandb_api_key log_config
    """,
    "Model": """
        A: pretrained_model_name_or_path v2 v_parameterization tokenizer_cache_dir vae no_half_vae
        clip_skip max_token_length
        XS: disable_mmap_load_safetensors
        A: lowram highvram
    """,
    "Pictures and captions": """
        A: train_data_dir
        NDST: reg_data_dir
        NFST: in_json dataset_repeats
        A: cache_info resolution train_batch_size enable_bucket min_bucket_reso max_bucket_reso
        bucket_reso_steps bucket_no_upscale resize_interpolation shuffle_caption caption_separator
        caption_extension caption_extention keep_tokens keep_tokens_separator secondary_separator
        enable_wildcard caption_prefix caption_suffix
        NDFS: caption_dropout_rate caption_dropout_every_n_epochs caption_tag_dropout_rate
        A: token_warmup_min token_warmup_step color_aug flip_aug face_crop_aug_range random_crop
        alpha_mask
        NDST: masked_loss conditioning_data_dir
        A: cache_latents cache_latents_to_disk vae_batch_size skip_cache_check
        XS: cache_text_encoder_outputs cache_text_encoder_outputs_to_disk
        NDFS: weighted_captions
        A: dataset_class debug_dataset max_data_loader_n_workers persistent_data_loader_workers
        NDT: prior_loss_weight
    """,
    "Steps, precision, memory, several devices": """
        A: max_train_steps max_train_epochs seed gradient_accumulation_steps
        gradient_checkpointing
        N: cpu_offload_checkpointing
        A: mixed_precision full_fp16 full_bf16 fp8_base
        N: fp8_base_unet
        A: mem_eff_attn xformers sdpa
        FS: diffusers_xformers
        A: torch_compile dynamo_backend fused_backward_pass
        S: fused_optimizer_groups
        A: ddp_timeout ddp_gradient_as_bucket_view ddp_static_graph deepspeed zero_stage
        offload_optimizer_device offload_optimizer_nvme_path offload_param_device
        offload_param_nvme_path zero3_init_flag zero3_save_16bit_model
        fp16_master_weights_and_gradients
    """,
    "Optimizer and learning rates": """
        A: optimizer_type use_8bit_adam use_lion_optimizer optimizer_args learning_rate
        max_grad_norm lr_scheduler lr_scheduler_type lr_scheduler_args lr_warmup_steps
        lr_decay_steps lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_timescale
        lr_scheduler_min_lr_ratio
        N: unet_lr text_encoder_lr
        DF: learning_rate_te
        S: learning_rate_te1 learning_rate_te2
        FS: train_text_encoder
        D: stop_text_encoder_training
        S: block_lr
    """,
    "Noise and loss": """
        A: noise_offset noise_offset_random_strength adaptive_noise_scale multires_noise_iterations
        multires_noise_discount ip_noise_gamma ip_noise_gamma_random_strength zero_terminal_snr
        min_timestep max_timestep loss_type huber_schedule huber_c huber_scale min_snr_gamma
        scale_v_pred_loss_like_noise_pred v_pred_like_loss debiased_estimation_loss
    """,
    "Saving, states, upload": """
        A: output_dir output_name save_model_as
        DFS: use_safetensors
        A: save_precision save_every_n_epochs save_every_n_steps save_n_epoch_ratio
        save_last_n_epochs save_last_n_steps save_last_n_epochs_state save_last_n_steps_state
        save_state save_state_on_train_end resume
        N: initial_epoch initial_step skip_until_initial_step no_metadata training_comment
        A: metadata_title metadata_author metadata_description metadata_license metadata_tags
        metadata_usage_hint metadata_thumbnail metadata_merged_from metadata_trigger_phrase
        metadata_preprocessor metadata_is_negative_embedding huggingface_repo_id
        huggingface_repo_type huggingface_path_in_repo huggingface_token
        huggingface_repo_visibility save_state_to_huggingface resume_from_huggingface async_upload
    """,
    "Previews and validation": """
        A: sample_every_n_steps sample_every_n_epochs sample_at_first sample_prompts sample_sampler
        N: validation_split validation_seed validate_every_n_steps validate_every_n_epochs
        max_validation_steps
    """,
    "Networks": """
        N: network_module network_weights network_dim network_alpha network_dropout network_args
        network_train_unet_only network_train_text_encoder_only dim_from_weights
        scale_weight_norms base_weights base_weights_multiplier
    """,
    "Textual Inversion": """
        T: weights num_vectors_per_token token_string init_word use_object_template
        use_style_template
    """,
    "Dreambooth": """
        D: no_token_padding
    """,
}

_ALL: Final = "NXDFST"


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _read(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    scripts = ""
    for word in text.split():
        if word.endswith(":"):
            scripts = _ALL if word == "A:" else word[:-1]
            continue
        found[word] = scripts.replace("N", "NX") if "X" not in scripts else scripts
    return found


OPTIONS_BY_SECTION: Final[dict[str, dict[str, str]]] = {
    title: _read(text) for title, text in _SECTIONS.items()
}
"""Heading → option → letters of the scripts that know it."""

SCRIPTS_OF: Final[dict[str, str]] = {
    name: scripts for names in OPTIONS_BY_SECTION.values() for name, scripts in names.items()
}
"""The letters of the scripts that know each option."""

SCRIPTS_OF_JOB: Final[dict[str, str]] = {
    "train_network": "NX",
    "train_db": "DS",
    "fine_tune": "FS",
    "train_textual_inversion": "T",
}
"""The scripts of sd-scripts that one of our jobs stands for."""

NETWORK_ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {
    "networks.lora": _names("""
        conv_dim conv_alpha block_dims block_alphas conv_block_dims conv_block_alphas
        down_lr_weight mid_lr_weight up_lr_weight block_lr_zero_threshold rank_dropout
        module_dropout loraplus_lr_ratio loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio
        """),
    "networks.lora_fa": _names("""
        conv_dim conv_alpha block_dims block_alphas conv_block_dims conv_block_alphas
        down_lr_weight mid_lr_weight up_lr_weight block_lr_zero_threshold rank_dropout
        module_dropout
        """),
    "networks.dylora": _names("""
        conv_dim conv_alpha unit rank_dropout module_dropout loraplus_lr_ratio
        loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio
        """),
    "networks.oft": ("enable_all_linear", "enable_conv"),
    "lycoris.kohya": _names("""
        algo preset conv_dim conv_alpha dropout rank_dropout module_dropout factor decompose_both
        full_matrix unbalanced_factorization use_tucker use_cp use_conv_cp disable_conv_cp
        use_scalar rs_lora dora_wd wd_on_output bypass_mode train_norm block_size constraint
        constrain rescaled rank_dropout_scale train_t5xxl loraplus_lr_ratio loraplus_unet_lr_ratio
        loraplus_text_encoder_lr_ratio
        """),
}
"""Arguments that each network module of sd-scripts and LyCORIS knows."""
