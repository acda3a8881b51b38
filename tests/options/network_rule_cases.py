"""Cases for the rules of networks, rates and new words: rule, how bad, values, options named."""

from __future__ import annotations

from collections.abc import Mapping

_UNET_ONLY = {"network_train_unet_only": True}
_CACHED = {"cache_text_encoder_outputs": True, **_UNET_ONLY}
_ADAFACTOR = {"optimizer_type": "Adafactor"}
_WORD = {"token_string": "mycat7", "learning_rate": 1e-4}

NETWORK_CASES: list[tuple[str, str, Mapping[str, object], str]] = [
    (
        "known_network_arguments",
        "error",
        {"network_args": ["foo=1"]},
        "network_args, network_module",
    ),
    ("known_network_arguments", "error", {"network_args": ["block_dims=1"]}, "network_args"),
    (
        "known_network_arguments",
        "error",
        {"network_args": ["dora_wd=3"]},
        "network_args, network_module",
    ),
    ("known_network_arguments", "error", {"network_args": ["up_lr_weight=hyper"]}, "network_args"),
    ("options_of_the_module", "warning", {"network_args": ["algo=loha"]}, "algo, network_module"),
    (
        "oft_is_for_the_unet",
        "error",
        {"network_module": "networks.oft", "network_train_text_encoder_only": True},
        "network_train_text_encoder_only, network_module",
    ),
    ("ranks_of_a_usual_size", "error", {"network_dim": 4097}, "network_dim"),
    (
        "ranks_of_a_usual_size",
        "error",
        {"network_module": "lycoris.kohya", "network_args": ["algo=loha", "conv_dim=100000"]},
        "conv_dim",
    ),
    (
        "arguments_of_the_algorithm",
        "warning",
        {"network_module": "lycoris.kohya", "network_args": ["algo=loha", "factor=8"]},
        "network_args, algo",
    ),
    (
        "arguments_of_the_algorithm",
        "error",
        {"network_module": "lycoris.kohya", "preset": "ful"},
        "preset",
    ),
    (
        "groups_of_ranks",
        "error",
        {"network_module": "networks.dylora", "network_dim": 6, "network_args": ["unit=4"]},
        "network_dim, network_args",
    ),
    (
        "norms_that_can_be_scaled",
        "error",
        {"network_module": "networks.oft", "scale_weight_norms": 1},
        "scale_weight_norms, network_module",
    ),
    (
        "rates_of_blocks_and_factors",
        "error",
        {
            "optimizer_type": "Prodigy",
            "learning_rate": 1,
            "network_args": ["loraplus_lr_ratio=4"],
        },
        "network_args, optimizer_type",
    ),
    (
        "a_strength_for_each_file",
        "warning",
        {"base_weights": ["a"], "base_weights_multiplier": [1, 2]},
        "base_weights_multiplier, base_weights",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["momentum=0.9"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["weight_decay=much"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["betas=0.9"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "known_optimizer_arguments",
        "error",
        {"optimizer_args": ["lr=1"]},
        "optimizer_args, learning_rate",
    ),
    (
        "adafactor_warmup_init",
        "error",
        {**_ADAFACTOR, "optimizer_args": ["warmup_init=True", "relative_step=False"]},
        "optimizer_args, optimizer_type",
    ),
    (
        "rates_beside_adafactor",
        "warning",
        {**_ADAFACTOR, "unet_lr": 1e-4},
        "optimizer_type, unet_lr",
    ),
    (
        "prodigy_wants_one",
        "warning",
        {"optimizer_type": "Prodigy", "unet_lr": 0.1, "text_encoder_lr": 0},
        "optimizer_type, unet_lr",
    ),
    (
        "one_rate_for_all",
        "error",
        {"optimizer_type": "Prodigy", "unet_lr": 1, "text_encoder_lr": 0.5},
        "optimizer_type, unet_lr, text_encoder_lr",
    ),
    ("unusual_rate", "warning", {"learning_rate": 2e-6}, "learning_rate"),
    ("unusual_rate", "warning", {"learning_rate": 1e-4, "unet_lr": 1}, "unet_lr"),
    ("new_word_is_one_word", "error", {**_WORD, "token_string": "my cat"}, "token_string"),
    ("new_word_is_one_word", "error", {**_WORD, "token_string": "cat,(7)"}, "token_string"),
    ("new_word_is_named", "error", {"init_word": "cat"}, "token_string, init_word"),
    ("new_word_is_named", "error", {"embedding_lr": 1e-3}, "token_string, embedding_lr"),
    (
        "one_template",
        "error",
        {**_WORD, "use_object_template": True, "use_style_template": True},
        "use_object_template, use_style_template",
    ),
    (
        "vectors_fit_in_a_caption",
        "error",
        {**_WORD, "num_vectors_per_token": 76},
        "num_vectors_per_token, max_token_length",
    ),
    (
        "one_start_of_the_word",
        "warning",
        {**_WORD, "weights": "old.pt", "init_word": "cat"},
        "weights, init_word",
    ),
    (
        "state_holds_the_word",
        "warning",
        {**_WORD, "weights": "old.pt", "resume": "x-state"},
        "resume, weights",
    ),
    (
        "cached_captions_cannot_learn_words",
        "error",
        {**_CACHED, **_WORD},
        "cache_text_encoder_outputs, token_string",
    ),
    (
        "word_beside_a_network_learns",
        "error",
        {**_WORD, "embedding_lr": 0},
        "embedding_lr, token_string",
    ),
    ("word_beside_a_network_learns", "warning", {**_WORD, "embedding_lr": 1e-7}, "embedding_lr"),
    (
        "word_has_the_rate_of_all",
        "error",
        {**_WORD, "optimizer_type": "Prodigy", "learning_rate": 1.0, "embedding_lr": 0.5},
        "optimizer_type, embedding_lr",
    ),
    (
        "word_has_the_rate_of_all",
        "warning",
        {**_WORD, **_ADAFACTOR, "embedding_lr": 1e-3},
        "optimizer_type, embedding_lr",
    ),
]
