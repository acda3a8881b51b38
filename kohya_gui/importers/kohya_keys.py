"""The keys of a kohya_ss settings file, by what is to be made of each.

Facts about that program's files; which options our jobs have is asked elsewhere, at run time.
"""

from __future__ import annotations

from typing import Final


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SAME: Final = frozenset(
    _names(
        """
        pretrained_model_name_or_path v_parameterization save_precision reg_data_dir output_dir
        output_name training_comment logging_dir
        learning_rate lr_scheduler lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_args
        lr_scheduler_type optimizer_args max_grad_norm train_batch_size
        save_every_n_epochs save_every_n_steps save_last_n_steps save_last_n_steps_state
        save_last_n_epochs save_last_n_epochs_state save_state save_state_on_train_end resume
        seed cache_latents cache_latents_to_disk caption_extension enable_bucket
        min_bucket_reso max_bucket_reso bucket_no_upscale bucket_reso_steps
        max_train_epochs max_train_steps mixed_precision gradient_checkpointing
        gradient_accumulation_steps fp8_base fp8_base_unet full_fp16 full_bf16 highvram lowram
        mem_eff_attn shuffle_caption prior_loss_weight color_aug flip_aug random_crop masked_loss
        clip_skip max_token_length max_data_loader_n_workers persistent_data_loader_workers
        keep_tokens v_pred_like_loss caption_dropout_every_n_epochs caption_dropout_rate
        ip_noise_gamma ip_noise_gamma_random_strength loss_type huber_schedule huber_c huber_scale
        vae_batch_size min_snr_gamma skip_cache_check log_with wandb_run_name log_tracker_name
        log_tracker_config log_config scale_v_pred_loss_like_noise_pred min_timestep max_timestep
        vae weighted_captions debiased_estimation_loss network_dim network_alpha network_dropout
        network_weights dim_from_weights scale_weight_norms
        sample_every_n_steps sample_every_n_epochs sample_sampler
        huggingface_repo_id huggingface_repo_type huggingface_repo_visibility
        huggingface_path_in_repo save_state_to_huggingface resume_from_huggingface async_upload
        metadata_author metadata_description metadata_license metadata_tags metadata_title
        dataset_repeats train_text_encoder block_lr no_token_padding token_string init_word
        num_vectors_per_token weights dataset_config
        """
    )
)
"""Keys that are options of sd-scripts under the same name."""

RENAMED: Final = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "lora_network_weights": "network_weights",
    "image_folder": "train_data_dir",
}
"""Keys under which the option of another name was saved."""

ONLY_SDXL: Final = {
    "sdxl_no_half_vae": "no_half_vae",
    "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs",
}
"""Keys that count only when the model is SDXL, and their options."""

SECRETS: Final = frozenset({"wandb_api_key", "huggingface_token"})

ORIGINAL_NOISE: Final = ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale")
MULTIRES_NOISE: Final = ("multires_noise_iterations", "multires_noise_discount")

OTHER_FAMILIES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "FLUX.1": (
        "flux1_checkbox",
        _names(
            """
            flux1_cache_text_encoder_outputs flux1_cache_text_encoder_outputs_to_disk model_type ae
            clip_l t5xxl t5xxl_lr discrete_flow_shift model_prediction_type timestep_sampling
            split_mode train_blocks t5xxl_max_token_length enable_all_linear guidance_scale
            mem_eff_save apply_t5_attn_mask split_qkv train_t5xxl cpu_offload_checkpointing
            blocks_to_swap single_blocks_to_swap double_blocks_to_swap img_attn_dim img_mlp_dim
            img_mod_dim single_dim txt_attn_dim txt_mlp_dim txt_mod_dim single_mod_dim in_dims
            train_double_block_indices train_single_block_indices
            train_lora_ggpo ggpo_sigma ggpo_beta flux_fused_backward_pass
            """
        ),
    ),
    "SD 3": (
        "sd3_checkbox",
        _names(
            """
            sd3_cache_text_encoder_outputs sd3_cache_text_encoder_outputs_to_disk
            sd3_fused_backward_pass clip_g clip_g_dropout_rate sd3_clip_l sd3_clip_l_dropout_rate
            sd3_disable_mmap_load_safetensors sd3_enable_scaled_pos_embed logit_mean logit_std
            mode_scale pos_emb_random_crop_rate save_clip save_t5xxl sd3_t5_dropout_rate sd3_t5xxl
            t5xxl_device t5xxl_dtype sd3_text_encoder_batch_size weighting_scheme
            """
        ),
    ),
    "HunyuanImage": (
        "hunyuan_image_checkbox",
        (
            "hunyuan_image_cache_text_encoder_outputs",
            "hunyuan_image_cache_text_encoder_outputs_to_disk",
            *(
                f"hunyuan_{name}"
                for name in _names(
                    """
                    text_encoder byt5 vae discrete_flow_shift model_prediction_type
                    timestep_sampling sigmoid_scale attn_mode split_attn fp8_scaled fp8_vl
                    text_encoder_cpu vae_chunk_size
                    """
                )
            ),
        ),
    ),
    "Anima": (
        "anima_checkbox",
        tuple(
            f"anima_{name}"
            for name in _names(
                """
                cache_text_encoder_outputs cache_text_encoder_outputs_to_disk qwen3 vae
                llm_adapter_path t5_tokenizer_path discrete_flow_shift timestep_sampling
                sigmoid_scale qwen3_max_token_length t5_max_token_length attn_mode split_attn
                vae_chunk_size vae_disable_cache unsloth_offload_checkpointing qwen_image_vae_2d
                compile torch_compile compile_backend compile_mode compile_dynamic
                compile_fullgraph compile_cache_size_limit
                """
            )
        ),
    ),
    "Lumina": (
        "lumina_checkbox",
        tuple(
            f"lumina_{name}"
            for name in _names(
                """
                cache_text_encoder_outputs cache_text_encoder_outputs_to_disk gemma2 ae
                discrete_flow_shift model_prediction_type timestep_sampling sigmoid_scale
                gemma2_max_token_length system_prompt use_flash_attn use_sage_attn
                """
            )
        ),
    ),
}
"""Families we don't train, in the order in which kohya_ss asks for them (after SDXL): the key that
chooses each, and the keys that belong to it."""

_METADATA_MADE: Final = (
    "it told how the metadata file was to be made; that file has to be there before training"
)
_LAUNCHER: Final = "it belongs to the machine, not to the job: see the settings of this program"

NOT_NEEDED: Final[dict[str, str]] = {
    "sdxl": "the kind of model is seen from the file",
    "sdxl_checkbox": "the kind of model is seen from the file",
    "model_list": "only a list of the page; the model itself stands in "
    "pretrained_model_name_or_path",
    "lowvram": "kohya_ss does not use it either",
    "save_as_bool": "a button of the page",
    "full_path": _METADATA_MADE,
    "create_caption": _METADATA_MADE,
    "create_buckets": _METADATA_MADE,
    "generate_caption_database": _METADATA_MADE,
    "generate_image_buckets": _METADATA_MADE,
    "batch_size": _METADATA_MADE,
    "show_timesteps": "it only draws a picture of the timesteps instead of training",
    "show_timesteps_resolution": "it only draws a picture of the timesteps instead of training",
    "num_cpu_threads_per_process": _LAUNCHER,
    "num_processes": _LAUNCHER,
    "num_machines": _LAUNCHER,
    "multi_gpu": _LAUNCHER,
    "gpu_ids": _LAUNCHER,
    "main_process_port": _LAUNCHER,
    "dynamo_use_fullgraph": "blocks are compiled as far as they can be",
    "dynamo_use_dynamic": "sizes that differ are seen and compiled for by themselves",
    "extra_accelerate_launch_args": _LAUNCHER,
}
"""Keys that nothing needs to be made of, and why."""

LORA_MARKS: Final = frozenset(
    _names(
        """
        LoRA_type LyCORIS_preset network_dim network_alpha network_weights lora_network_weights
        network_dropout dim_from_weights unet_lr text_encoder_lr conv_dim conv_alpha
        scale_weight_norms block_dims block_alphas down_lr_weight
        """
    )
)
TEXTUAL_INVERSION_MARKS: Final = frozenset(
    _names("token_string init_word num_vectors_per_token template")
)
FINE_TUNE_MARKS: Final = frozenset(
    _names(
        """
        image_folder train_dir caption_metadata_filename latent_metadata_filename use_latent_files
        full_path create_caption create_buckets generate_caption_database generate_image_buckets
        sdxl_checkbox train_text_encoder
        """
    )
)
DREAMBOOTH_MARKS: Final = frozenset(
    _names(
        """
        stop_text_encoder_training stop_text_encoder_training_pct no_token_padding
        learning_rate_te learning_rate_te1 learning_rate_te2
        """
    )
)

SPECIAL: Final = frozenset(
    _names(
        """
        v2 train_data_dir save_model_as epoch lr_warmup lr_warmup_steps xformers
        noise_offset_type text_encoder_lr unet_lr LoRA_type additional_parameters sample_prompts
        dynamo_backend dynamo_mode use_8bit_adam use_wandb train_inpainting
        stop_text_encoder_training stop_text_encoder_training_pct template train_dir
        caption_metadata_filename latent_metadata_filename use_latent_files
        learning_rate_te learning_rate_te1 learning_rate_te2
        """
    )
)
"""Keys that are worked out together with others."""
