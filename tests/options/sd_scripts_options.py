"""Names and defaults of sd-scripts 0.10.1 for SD 1.x, SD 2.x and SDXL, written down by hand."""

from __future__ import annotations

DEFAULTS: dict[str, object] = {
    # running
    "ddp_timeout": None,
    "torch_compile": False,
    "dynamo_backend": "inductor",
    "opt_channels_last": False,
    "fp8_base": False,
    "fp8_base_unet": False,
    "log_config": False,
    "log_tracker_config": None,
    "wandb_run_name": None,
    # model
    "pretrained_model_name_or_path": None,
    "v2": None,  # a plain flag there; here empty means: seen from the file
    "v_parameterization": None,  # likewise
    "vae": None,
    "no_half_vae": False,
    "clip_skip": None,
    "max_token_length": None,
    # pictures
    "train_data_dir": None,
    "reg_data_dir": None,
    "dataset_config": None,
    "dataset_repeats": 1,
    "resolution": None,
    "train_batch_size": 1,
    "enable_bucket": False,
    "min_bucket_reso": 256,
    "max_bucket_reso": 1024,
    "bucket_reso_steps": 64,
    "bucket_no_upscale": False,
    "resize_interpolation": None,
    "in_json": None,
    "flip_aug": False,
    "random_crop": False,
    "color_aug": False,
    "face_crop_aug_range": None,
    "masked_loss": False,
    "conditioning_data_dir": None,
    "alpha_mask": False,
    "prior_loss_weight": 1.0,
    "cache_latents": False,
    "cache_latents_to_disk": False,
    "vae_batch_size": 1,
    "cache_text_encoder_outputs": False,
    "cache_text_encoder_outputs_to_disk": False,
    "max_data_loader_n_workers": 8,
    "persistent_data_loader_workers": False,
    # captions
    "caption_extension": ".caption",
    "caption_separator": ",",
    "shuffle_caption": False,
    "keep_tokens": 0,
    "keep_tokens_separator": "",
    "secondary_separator": None,
    "enable_wildcard": False,
    "caption_prefix": None,
    "caption_suffix": None,
    "caption_dropout_rate": 0.0,
    "caption_dropout_every_n_epochs": 0,
    "caption_tag_dropout_rate": 0.0,
    "token_warmup_min": 1,
    "token_warmup_step": 0.0,
    "weighted_captions": False,
    # network
    "network_module": "networks.lora",  # has to be given there
    "network_dim": None,
    "network_alpha": 1.0,
    "network_dropout": None,
    "network_args": (),
    "scale_weight_norms": None,
    "base_weights": (),
    "base_weights_multiplier": (),
    "network_train_unet_only": False,
    "network_train_text_encoder_only": False,
    "network_weights": None,
    "dim_from_weights": False,
    # new word
    "token_string": None,
    "num_vectors_per_token": 1,
    "init_word": None,
    "weights": None,
    "use_object_template": False,
    "use_style_template": False,
    # length, precision
    "max_train_steps": 1600,
    "max_train_epochs": None,
    "gradient_accumulation_steps": 1,
    "seed": None,
    "mixed_precision": "no",
    "full_fp16": False,
    "full_bf16": False,
    "fused_backward_pass": False,
    "fused_optimizer_groups": None,
    "gradient_checkpointing": False,
    "sdpa": False,
    "xformers": False,
    "mem_eff_attn": False,
    # optimizer
    "optimizer_type": "AdamW",  # "" there, which means AdamW
    "optimizer_args": (),
    "learning_rate": 2e-6,
    "unet_lr": None,
    "text_encoder_lr": None,
    "max_grad_norm": 1.0,
    "lr_scheduler": "constant",
    "lr_scheduler_type": None,  # "" there
    "lr_warmup_steps": 0,
    "lr_decay_steps": 0,
    "lr_scheduler_num_cycles": 1,
    "lr_scheduler_power": 1.0,
    "lr_scheduler_timescale": None,
    "lr_scheduler_min_lr_ratio": None,
    "lr_scheduler_args": (),
    # noise and loss
    "noise_offset": None,
    "noise_offset_random_strength": False,
    "adaptive_noise_scale": None,
    "multires_noise_iterations": None,
    "multires_noise_discount": 0.3,
    "ip_noise_gamma": None,
    "ip_noise_gamma_random_strength": False,
    "zero_terminal_snr": False,
    "scale_v_pred_loss_like_noise_pred": False,
    "v_pred_like_loss": None,
    "debiased_estimation_loss": False,
    "min_snr_gamma": None,
    "loss_type": "l2",
    "huber_schedule": "snr",
    "huber_c": 0.1,
    "huber_scale": 1.0,
    "min_timestep": None,
    "max_timestep": None,
    # saving
    "output_dir": None,
    "output_name": None,
    "save_model_as": "safetensors",
    "save_precision": None,
    "save_every_n_epochs": None,
    "save_every_n_steps": None,
    "save_n_epoch_ratio": None,
    "save_last_n_epochs": None,
    "save_last_n_steps": None,
    "save_last_n_epochs_state": None,
    "save_last_n_steps_state": None,
    "save_state": False,
    "save_state_on_train_end": False,
    "resume": None,
    # previews
    "sample_every_n_steps": None,
    "sample_every_n_epochs": None,
    "sample_at_first": False,
    "sample_prompts": None,
    "sample_sampler": "ddim",
    # validation
    "validation_split": 0.0,
    "validation_seed": None,
    "validate_every_n_steps": None,
    "validate_every_n_epochs": None,
    "max_validation_steps": None,
    # file information
    "no_metadata": False,
    "training_comment": None,
    "metadata_title": None,
    "metadata_author": None,
    "metadata_description": None,
    "metadata_license": None,
    "metadata_tags": None,
    "metadata_usage_hint": None,
    "metadata_thumbnail": None,
    "metadata_merged_from": None,
    "metadata_trigger_phrase": None,
    "metadata_preprocessor": None,
    "metadata_is_negative_embedding": None,
    # logging
    "logging_dir": None,
    "log_with": None,
    "log_prefix": None,
    "log_tracker_name": None,
}

OURS = frozenset(
    {
        "allow_tf32",
        "bad_images",
        "cache_dir",
        "conv_dim",
        "algo",
        "preset",
        "rank_dropout",
        "module_dropout",
        "conv_alpha",
        "embedding_lr",
        "kohya_crop_conditioning",
        "kohya_caches",
        "masked_loss_mean",
        "use_ema",
        "ema_decay",
        "ema_device",
        "dynamo_mode",
        "pack_frozen_weights",
        "picture_decisions",
        "quantize_base",
        "quantize_unet_only",
    }
)
"""Options that sd-scripts does not have under that name."""

_NAMES = """
config_file output_config dataset_config console_log_level console_log_file console_log_simple
logging_dir log_with log_prefix log_tracker_name wandb_run_name log_tracker_config wandb_api_key
log_config pretrained_model_name_or_path v2 v_parameterization tokenizer_cache_dir vae no_half_vae
clip_skip max_token_length disable_mmap_load_safetensors lowram highvram train_data_dir
reg_data_dir in_json dataset_repeats cache_info resolution train_batch_size enable_bucket
min_bucket_reso max_bucket_reso bucket_reso_steps bucket_no_upscale resize_interpolation
shuffle_caption caption_separator caption_extension caption_extention keep_tokens
keep_tokens_separator secondary_separator enable_wildcard caption_prefix caption_suffix
caption_dropout_rate caption_dropout_every_n_epochs caption_tag_dropout_rate token_warmup_min
token_warmup_step color_aug flip_aug face_crop_aug_range random_crop alpha_mask masked_loss
conditioning_data_dir cache_latents cache_latents_to_disk vae_batch_size skip_cache_check
cache_text_encoder_outputs cache_text_encoder_outputs_to_disk weighted_captions dataset_class
debug_dataset max_data_loader_n_workers persistent_data_loader_workers prior_loss_weight
max_train_steps max_train_epochs seed gradient_accumulation_steps gradient_checkpointing
cpu_offload_checkpointing mixed_precision full_fp16 full_bf16 fp8_base fp8_base_unet mem_eff_attn
xformers sdpa diffusers_xformers torch_compile dynamo_backend fused_backward_pass
fused_optimizer_groups ddp_timeout ddp_gradient_as_bucket_view ddp_static_graph deepspeed
zero_stage offload_optimizer_device offload_optimizer_nvme_path offload_param_device
offload_param_nvme_path zero3_init_flag zero3_save_16bit_model fp16_master_weights_and_gradients
optimizer_type use_8bit_adam use_lion_optimizer optimizer_args learning_rate max_grad_norm
lr_scheduler lr_scheduler_type lr_scheduler_args lr_warmup_steps lr_decay_steps
lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_timescale lr_scheduler_min_lr_ratio
unet_lr text_encoder_lr learning_rate_te learning_rate_te1 learning_rate_te2 train_text_encoder
stop_text_encoder_training block_lr noise_offset noise_offset_random_strength adaptive_noise_scale
multires_noise_iterations multires_noise_discount ip_noise_gamma ip_noise_gamma_random_strength
zero_terminal_snr min_timestep max_timestep loss_type huber_schedule huber_c huber_scale
min_snr_gamma scale_v_pred_loss_like_noise_pred v_pred_like_loss debiased_estimation_loss
output_dir output_name save_model_as use_safetensors save_precision save_every_n_epochs
save_every_n_steps save_n_epoch_ratio save_last_n_epochs save_last_n_steps
save_last_n_epochs_state save_last_n_steps_state save_state save_state_on_train_end resume
initial_epoch initial_step skip_until_initial_step no_metadata training_comment metadata_title
metadata_author metadata_description metadata_license metadata_tags metadata_usage_hint
metadata_thumbnail metadata_merged_from metadata_trigger_phrase metadata_preprocessor
metadata_is_negative_embedding huggingface_repo_id huggingface_repo_type huggingface_path_in_repo
huggingface_token huggingface_repo_visibility save_state_to_huggingface resume_from_huggingface
async_upload sample_every_n_steps sample_every_n_epochs sample_at_first sample_prompts
sample_sampler validation_split validation_seed validate_every_n_steps validate_every_n_epochs
max_validation_steps network_module network_weights network_dim network_alpha network_dropout
network_args network_train_unet_only network_train_text_encoder_only dim_from_weights
scale_weight_norms base_weights base_weights_multiplier weights num_vectors_per_token token_string
init_word use_object_template use_style_template no_token_padding
"""
NAMES = tuple(_NAMES.split())
