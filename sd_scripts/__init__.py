"""The trainers: options, data, models, training loop and file formats."""
