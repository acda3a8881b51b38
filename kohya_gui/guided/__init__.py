"""The guided way to a first LoRA: what is asked, kept and planned. Without gradio."""
