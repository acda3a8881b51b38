"""What the page that tries prompts knows of models, networks and runs. Without gradio."""
